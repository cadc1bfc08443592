// Consumers of S3 credentials, each by its own code: it gets nothing but the folder in which a Secret is mounted, puts an
// object into the bucket, and gets it back.
//
//	consumers NAME FOLDER BUCKET ENDPOINT
//	consumers rclone ARGUMENTS OF RCLONE
//
// FOLDER, BUCKET and ENDPOINT stand for what the consumer is configured with beside the Secret; formats that carry a bucket
// or an endpoint are used with their own.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"
	"github.com/go-kit/log"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	_ "github.com/rclone/rclone/backend/s3"
	"github.com/rclone/rclone/cmd"
	_ "github.com/rclone/rclone/cmd/cat"
	_ "github.com/rclone/rclone/cmd/lsf"
	_ "github.com/rclone/rclone/cmd/rcat"
	thanos "github.com/thanos-io/objstore/providers/s3"
	"gopkg.in/yaml.v2"
)

// place is what a consumer knows.
type place struct{ folder, bucket, endpoint string }

// read gives a key of the mounted Secret.
func (p place) read(key string) (string, error) {
	text, err := os.ReadFile(filepath.Join(p.folder, key))
	return string(text), err
}

// environment sets the keys of the Secret as environment variables, as `envFrom` does.
func (p place) environment() error {
	entries, err := os.ReadDir(p.folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		text, err := p.read(entry.Name())
		if err != nil {
			return err
		}
		if err := os.Setenv(entry.Name(), text); err != nil {
			return err
		}
	}
	return nil
}

// store is what all of them can do.
type store interface {
	put(ctx context.Context, key string, content []byte) error
	get(ctx context.Context, key string) ([]byte, error)
}

var consumers = map[string]func(context.Context, place) (store, error){
	"aws-env":        environmentSDK,
	"cosi":           cosi,
	"csi-s3":         csi,
	"harbor":         harbor,
	"longhorn":       longhorn,
	"mountpoint-csi": pair("key_id", "access_key"),
	"argo-workflows": pair("accessKey", "secretKey"),
	"kubeflow":       pair("accesskey", "secretkey"),
	"loki-operator":  loki,
	"tempo-operator": tempo,
	"thanos":         thanosBucket,
	"velero":         velero,
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "rclone" {
		os.Args = os.Args[1:]
		cmd.Main()
		return
	}
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "consumers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 4 || consumers[args[0]] == nil {
		return fmt.Errorf("usage: consumers NAME FOLDER BUCKET ENDPOINT")
	}
	bucket, err := consumers[args[0]](ctx, place{args[1], args[2], args[3]})
	if err != nil {
		return fmt.Errorf("configuring %s: %w", args[0], err)
	}
	key, wanted := "proof-of-"+args[0], []byte("by "+args[0])
	if err := bucket.put(ctx, key, wanted); err != nil {
		return fmt.Errorf("putting an object with %s: %w", args[0], err)
	}
	found, err := bucket.get(ctx, key)
	if err != nil {
		return fmt.Errorf("getting the object with %s: %w", args[0], err)
	}
	if !bytes.Equal(found, wanted) {
		return fmt.Errorf("%s got %q for %q", args[0], found, wanted)
	}
	fmt.Println(args[0], "works")
	return nil
}

// sdk is a client of the AWS SDK.
type sdk struct {
	client *s3.Client
	bucket string
}

func (s sdk) put(ctx context.Context, key string, content []byte) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(content)})
	return err
}

func (s sdk) get(ctx context.Context, key string) ([]byte, error) {
	found, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer found.Body.Close()
	return io.ReadAll(found.Body)
}

// environmentSDK is the AWS SDK with its own environment variables and nothing else.
func environmentSDK(ctx context.Context, p place) (store, error) {
	if err := p.environment(); err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	return sdk{s3.NewFromConfig(cfg), p.bucket}, nil
}

// velero loads the file as velero-plugin-for-aws does: as the SDK's shared credentials and configuration, by profile.
func velero(ctx context.Context, p place) (store, error) {
	file := []string{filepath.Join(p.folder, "cloud")}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithSharedCredentialsFiles(file), config.WithSharedConfigFiles(file),
		config.WithSharedConfigProfile("default"), config.WithRegion("us-east-1"))
	if err != nil {
		return nil, err
	}
	// The BackupStorageLocation's s3Url and s3ForcePathStyle.
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.BaseEndpoint, o.UsePathStyle = aws.String(p.endpoint), true
	})
	return sdk{client, p.bucket}, nil
}

// longhorn reads the variables that its backup store reads, and makes its client of them.
func longhorn(ctx context.Context, p place) (store, error) {
	if err := p.environment(); err != nil {
		return nil, err
	}
	// The region is in the backup target's URL, s3://BUCKET@REGION/.
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"))
	if err != nil {
		return nil, err
	}
	cfg.BaseEndpoint = aws.String(os.Getenv("AWS_ENDPOINTS"))
	pathStyle := map[string]bool{"true": false, "false": true}
	style, known := pathStyle[os.Getenv("VIRTUAL_HOSTED_STYLE")]
	if !known {
		return nil, fmt.Errorf("VIRTUAL_HOSTED_STYLE is %q", os.Getenv("VIRTUAL_HOSTED_STYLE"))
	}
	return sdk{s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = style }), p.bucket}, nil
}

// harbor has the registry's own configuration parser put its environment over a file, and its own driver use it.
func harbor(ctx context.Context, p place) (store, error) {
	if err := p.environment(); err != nil {
		return nil, err
	}
	file := fmt.Sprintf("version: 0.1\nstorage:\n  s3:\n    region: us-east-1\n    bucket: %s\n    regionendpoint: %s\n    forcepathstyle: true\n", p.bucket, p.endpoint)
	parsed, err := configuration.Parse(strings.NewReader(file))
	if err != nil {
		return nil, err
	}
	driver, err := factory.Create(ctx, "s3aws", parsed.Storage.Parameters())
	if err != nil {
		return nil, err
	}
	return registry{driver}, nil
}

type registry struct {
	driver interface {
		PutContent(context.Context, string, []byte) error
		GetContent(context.Context, string) ([]byte, error)
	}
}

func (r registry) put(ctx context.Context, key string, content []byte) error {
	return r.driver.PutContent(ctx, "/"+key, content)
}

func (r registry) get(ctx context.Context, key string) ([]byte, error) {
	return r.driver.GetContent(ctx, "/"+key)
}

// thanosBucket parses the file strictly, as Thanos' client factory does, and has its provider for S3 do the rest.
func thanosBucket(_ context.Context, p place) (store, error) {
	text, err := p.read("objstore.yml")
	if err != nil {
		return nil, err
	}
	var file struct {
		Type   string      `yaml:"type"`
		Config interface{} `yaml:"config"`
		Prefix string      `yaml:"prefix"`
	}
	if err := yaml.UnmarshalStrict([]byte(text), &file); err != nil {
		return nil, err
	}
	if file.Type != "S3" {
		return nil, fmt.Errorf("type is %q", file.Type)
	}
	conf, err := yaml.Marshal(file.Config)
	if err != nil {
		return nil, err
	}
	bucket, err := thanos.NewBucket(log.NewNopLogger(), conf, "proof", func(t http.RoundTripper) http.RoundTripper { return t })
	if err != nil {
		return nil, err
	}
	return objstore{bucket}, nil
}

type objstore struct{ bucket *thanos.Bucket }

func (o objstore) put(ctx context.Context, key string, content []byte) error {
	return o.bucket.Upload(ctx, key, bytes.NewReader(content))
}

func (o objstore) get(ctx context.Context, key string) ([]byte, error) {
	found, err := o.bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	return io.ReadAll(found)
}

// client is a client of minio-go, which csi-s3, Argo Workflows, Kubeflow Pipelines and Tempo use.
type client struct {
	client *minio.Client
	bucket string
}

func (c client) put(ctx context.Context, key string, content []byte) error {
	_, err := c.client.PutObject(ctx, c.bucket, key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
	return err
}

func (c client) get(ctx context.Context, key string) ([]byte, error) {
	found, err := c.client.GetObject(ctx, c.bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer found.Close()
	return io.ReadAll(found)
}

func minioClient(endpoint, bucket, id, secret, region string) (store, error) {
	address, err := url.ParseRequestURI(endpoint)
	if err != nil || address.Scheme == "" {
		return nil, fmt.Errorf("the endpoint %q is no URL: %v", endpoint, err)
	}
	made, err := minio.New(address.Host, &minio.Options{
		Creds: credentials.NewStaticV4(id, secret, ""), Secure: address.Scheme == "https", Region: region,
	})
	return client{made, bucket}, err
}

// keys reads keys of the Secret, none of which may be empty.
func (p place) keys(names ...string) (map[string]string, error) {
	found := map[string]string{}
	for _, name := range names {
		text, err := p.read(name)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, fmt.Errorf("%s is empty", name)
		}
		found[name] = text
	}
	return found, nil
}

// pair is a consumer whose Secret has the two halves and no more, by keys that its own manifest names.
func pair(id, secret string) func(context.Context, place) (store, error) {
	return func(_ context.Context, p place) (store, error) {
		found, err := p.keys(id, secret)
		if err != nil {
			return nil, err
		}
		return minioClient(p.endpoint, p.bucket, found[id], found[secret], "us-east-1")
	}
}

func csi(_ context.Context, p place) (store, error) {
	found, err := p.keys("accessKeyID", "secretAccessKey", "endpoint", "region")
	if err != nil {
		return nil, err
	}
	return minioClient(found["endpoint"], p.bucket, found["accessKeyID"], found["secretAccessKey"], found["region"])
}

func loki(_ context.Context, p place) (store, error) {
	found, err := p.keys("bucketnames", "endpoint", "access_key_id", "access_key_secret", "region")
	if err != nil {
		return nil, err
	}
	first := strings.Split(found["bucketnames"], ",")[0]
	return minioClient(found["endpoint"], first, found["access_key_id"], found["access_key_secret"], found["region"])
}

// tempo takes a region for the mark of another kind of credentials.
func tempo(_ context.Context, p place) (store, error) {
	found, err := p.keys("bucket", "endpoint", "access_key_id", "access_key_secret")
	if err != nil {
		return nil, err
	}
	if _, err := p.read("region"); err == nil {
		return nil, fmt.Errorf("there is a region")
	}
	return minioClient(found["endpoint"], found["bucket"], found["access_key_id"], found["access_key_secret"], "us-east-1")
}

func cosi(_ context.Context, p place) (store, error) {
	if err := p.environment(); err != nil {
		return nil, err
	}
	if protocol := os.Getenv("COSI_PROTOCOL"); protocol != "S3" {
		return nil, fmt.Errorf("COSI_PROTOCOL is %q", protocol)
	}
	if style := os.Getenv("COSI_S3_ADDRESSING_STYLE"); style != "path" && style != "virtual" {
		return nil, fmt.Errorf("COSI_S3_ADDRESSING_STYLE is %q", style)
	}
	return minioClient(os.Getenv("COSI_S3_ENDPOINT"), os.Getenv("COSI_S3_BUCKET_ID"),
		os.Getenv("COSI_S3_ACCESS_KEY_ID"), os.Getenv("COSI_S3_ACCESS_SECRET_KEY"), os.Getenv("COSI_S3_REGION"))
}
