// Signs and verifies as cosign does, by cosign's own library: the commands and flags of it that a release needs with a
// key in a file. Without its stores of keys in clouds and its policy engines, it builds in a fifth of the time.
//
//	signer generate-key-pair                                    cosign.key and cosign.pub, here
//	signer sign        --key FILE [flags] IMAGE@DIGEST
//	signer verify      --key FILE [flags] IMAGE@DIGEST
//	signer sign-blob   --key FILE --bundle FILE [flags] FILE
//	signer verify-blob --key FILE --bundle FILE [flags] FILE
//
// COSIGN_PASSWORD opens the key. Nothing goes to a transparency log.
package main

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func password(bool) ([]byte, error) {
	return []byte(os.Getenv("COSIGN_PASSWORD")), nil
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which command?")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	key := flags.String("key", "", "the key's file")
	bundle := flags.String("bundle", "", "the signature's file")
	insecure := flags.Bool("allow-http-registry", false, "plain HTTP")
	// What is told to cosign, and is so here in any case.
	flags.Bool("yes", false, "ask nothing")
	flags.Bool("tlog-upload", false, "no transparency log")
	flags.Bool("use-signing-config", false, "no addresses of Sigstore's services")
	flags.Bool("insecure-ignore-tlog", false, "no transparency log")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if args[0] == "generate-key-pair" {
		return generate()
	}
	content, err := os.ReadFile(*key)
	if err != nil {
		return err
	}
	switch args[0] {
	case "sign":
		return sign(ctx, content, flags.Arg(0), *insecure)
	case "verify":
		return verify(ctx, content, flags.Arg(0), *insecure)
	case "sign-blob":
		return signBlob(content, flags.Arg(0), *bundle)
	case "verify-blob":
		return verifyBlob(ctx, content, flags.Arg(0), *bundle)
	}
	return fmt.Errorf("there is no command %s", args[0])
}

func generate() error {
	keys, err := cosign.GenerateKeyPair(password)
	if err != nil {
		return err
	}
	if err := os.WriteFile("cosign.key", keys.PrivateBytes, 0o600); err != nil {
		return err
	}
	return os.WriteFile("cosign.pub", keys.PublicBytes, 0o644)
}

// The signature of these bytes, in base64.
func signed(key, content []byte) (string, error) {
	secret, err := password(false)
	if err != nil {
		return "", err
	}
	signer, err := cosign.LoadPrivateKey(key, secret, nil)
	if err != nil {
		return "", err
	}
	made, err := signer.SignMessage(bytes.NewReader(content))
	return base64.StdEncoding.EncodeToString(made), err
}

func digestOf(image string, insecure bool) (name.Digest, error) {
	if insecure {
		return name.NewDigest(image, name.Insecure)
	}
	return name.NewDigest(image)
}

func sign(ctx context.Context, key []byte, image string, insecure bool) error {
	digest, err := digestOf(image, insecure)
	if err != nil {
		return err
	}
	entity, err := ociremote.SignedEntity(digest)
	if err != nil {
		return err
	}
	claim, err := payload.Cosign{Image: digest}.MarshalJSON()
	if err != nil {
		return err
	}
	made, err := signed(key, claim)
	if err != nil {
		return err
	}
	attached, err := static.NewSignature(claim, made)
	if err != nil {
		return err
	}
	entity, err = mutate.AttachSignatureToEntity(entity, attached)
	if err != nil {
		return err
	}
	return ociremote.WriteSignatures(digest.Repository, entity)
}

func options(key []byte) (*cosign.CheckOpts, error) {
	public, err := cryptoutils.UnmarshalPEMToPublicKey(key)
	if err != nil {
		return nil, err
	}
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	return &cosign.CheckOpts{SigVerifier: verifier, IgnoreTlog: true, IgnoreSCT: true, Offline: true}, err
}

func verify(ctx context.Context, key []byte, image string, insecure bool) error {
	digest, err := digestOf(image, insecure)
	if err != nil {
		return err
	}
	opts, err := options(key)
	if err != nil {
		return err
	}
	opts.ClaimVerifier = cosign.SimpleClaimVerifier
	_, _, err = cosign.VerifyImageSignatures(ctx, digest, opts)
	return err
}

func signBlob(key []byte, path, bundle string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	made, err := signed(key, content)
	if err != nil {
		return err
	}
	text, err := json.Marshal(cosign.LocalSignedPayload{Base64Signature: made})
	if err != nil {
		return err
	}
	return os.WriteFile(bundle, text, 0o644)
}

func verifyBlob(ctx context.Context, key []byte, path, bundle string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	found, err := cosign.FetchLocalSignedPayloadFromPath(bundle)
	if err != nil {
		return err
	}
	opts, err := options(key)
	if err != nil {
		return err
	}
	attached, err := static.NewSignature(content, found.Base64Signature)
	if err != nil {
		return err
	}
	_, err = cosign.VerifyBlobSignature(ctx, attached, opts)
	return err
}
