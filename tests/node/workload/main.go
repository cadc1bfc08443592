// Command workload is what runs in the pods of the node tests: an application
// that has an S3 bucket and the Secret of an S3AccessUser as a volume, and the
// process that holds a pod's namespaces. One static binary, which is all that
// is in its image.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// How long one request may take. An application would wait longer; here a
// request that hangs is a failed one.
const requestTimeout = 10 * time.Second

// The pause between two exchanges: enough requests for a test, and processor
// time left for what is tested.
const pause = 40 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 1 && args[0] == "pause":
		<-ctx.Done()
	case len(args) == 3 && args[0] == "put":
		err = put(ctx, args[1], args[2])
	case len(args) == 2 && args[0] == "cat":
		err = cat(ctx, args[1])
	case len(args) == 2 && args[0] == "load":
		err = load(ctx, args[1])
	default:
		err = errors.New("usage: workload pause | put s3://BUCKET/KEY TEXT | cat s3://BUCKET/KEY | load BUCKET")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// client takes everything from where the AWS SDKs look by themselves: the
// environment and the files that it names. Requests are sent once: a retry
// would hide what the tests are about.
func client(ctx context.Context) (*s3.Client, string, error) {
	settings, err := config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(1))
	if err != nil {
		return nil, "", err
	}
	credentials, err := settings.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, "", err
	}
	client := s3.NewFromConfig(settings, func(options *s3.Options) {
		options.UsePathStyle = true
		options.DisableLogOutputChecksumValidationSkipped = true
	})
	return client, credentials.AccessKeyID, nil
}

func parse(url string) (bucket, key string, err error) {
	bucket, key, found := strings.Cut(strings.TrimPrefix(url, "s3://"), "/")
	if !found {
		return "", "", fmt.Errorf("%s is not s3://BUCKET/KEY", url)
	}
	return bucket, key, nil
}

// put makes the bucket with one object; for the administrator, outside pods.
func put(ctx context.Context, url, text string) error {
	bucket, key, err := parse(url)
	if err != nil {
		return err
	}
	client, _, err := client(ctx)
	if err != nil {
		return err
	}
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		return err
	}
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(text)})
	return err
}

// cat prints an object, then stays, as a server would.
func cat(ctx context.Context, url string) error {
	bucket, key, err := parse(url)
	if err != nil {
		return err
	}
	client, _, err := client(ctx)
	if err != nil {
		return err
	}
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer object.Body.Close()
	text, err := io.ReadAll(object.Body)
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	<-ctx.Done()
	return nil
}

// report is printed after every second in which something was requested.
type report struct {
	// Requests that were answered as they should be, by access key id.
	Keys map[string]int `json:"keys"`
	// All others, by error code.
	Failures map[string]int `json:"failures"`
}

// load puts and gets objects until it is told to end, each time with the key
// that is in the mounted file at that moment.
func load(ctx context.Context, bucket string) error {
	file := os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
	counts := report{Keys: map[string]int{}, Failures: map[string]int{}}
	output := json.NewEncoder(os.Stdout)
	var s3client *s3.Client
	var held []byte
	var key string
	printed := time.Now()
	for number := 0; ctx.Err() == nil; number++ {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !bytes.Equal(text, held) {
			if s3client, key, err = client(ctx); err != nil {
				return err
			}
			held = text
		}
		counts.add(key, exchange(s3client, bucket, path.Join("objects", fmt.Sprint(number%16)), fmt.Sprint(number)))
		if time.Since(printed) >= time.Second {
			if err := output.Encode(counts); err != nil {
				return err
			}
			printed = time.Now()
		}
		time.Sleep(pause)
	}
	return output.Encode(counts)
}

// exchange writes an object and reads it: the errors of both requests. The
// signal to end interrupts neither.
func exchange(client *s3.Client, bucket, name, body string) [2]error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	_, put := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &name, Body: strings.NewReader(body)})
	object, get := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &name})
	if get == nil {
		defer object.Body.Close()
		var found []byte
		if found, get = io.ReadAll(object.Body); get == nil && put == nil && string(found) != body {
			get = &smithy.GenericAPIError{Code: "AnotherBody", Message: aws.ToString(object.ETag)}
		}
	}
	return [2]error{put, get}
}

func (counts *report) add(key string, outcomes [2]error) {
	for _, err := range outcomes {
		var answer smithy.APIError
		switch {
		case err == nil:
			counts.Keys[key]++
		case errors.As(err, &answer):
			counts.Failures[answer.ErrorCode()]++
		default:
			counts.Failures[err.Error()]++
		}
	}
}
