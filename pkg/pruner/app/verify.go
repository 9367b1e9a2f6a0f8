package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/registry"
	"image.alauda.io/registry/pkg/pruner/signature"
)

func newVerifyCommand() *cobra.Command {
	opts := options.VerifyDefaults(os.Getenv)
	var conn connection
	var verbosity int
	command := &cobra.Command{
		Use:   "verify-image-signature DIGEST",
		Short: "Verify the OpenPGP signatures of an image",
		Long: `Verify the signatures that are stored with an image: that a trusted key has signed them, that they are about
this image, and that the image was signed under the expected name.

With --save, what was found stands in the conditions of each signature; the signatures themselves stay,
whatever was found. It takes the right to update images.image.alauda.io.`,
		Example: `  pruner verify-image-signature sha256:4c1c... --expected-identity=registry.example.com/team-a/app:v1
  pruner verify-image-signature sha256:4c1c... --expected-identity=... --public-key=trusted.gpg --save
  pruner verify-image-signature sha256:4c1c... --remove-all`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			id, err := digest.Parse(args[0])
			if err != nil {
				return failure(exitUsage, "%q is not the digest of an image", args[0])
			}
			if err := opts.Validate(); err != nil {
				return failure(exitUsage, "%w", err)
			}
			v := &verification{Verify: opts, id: id, clock: clock.RealClock{}, out: command.OutOrStdout(), errors: command.ErrOrStderr()}
			if err := v.readTrust(); err != nil {
				return failure(exitUsage, "%w", err)
			}
			defaults := options.Defaults()
			if v.clients, err = conn.clients(defaults.QPS, defaults.Burst); err != nil {
				return err
			}
			logging.Setup("pruner", verbosity)
			v.manifests = v.connect
			return v.run(command.Context())
		},
	}
	flags := command.Flags()
	opts.AddFlags(flags)
	conn.addFlags(flags)
	flags.IntVarP(&verbosity, "loglevel", "v", 0, "verbosity of the log, 0 to 8")
	return command
}

// manifestSource reads manifests from the registry.
type manifestSource interface {
	Manifest(ctx context.Context, repository string, id digest.Digest) ([]byte, error)
}

// verification is `pruner verify-image-signature` with everything it needs.
type verification struct {
	options.Verify
	clients
	id          digest.Digest
	keys        signature.Keys
	identity    reference.Named
	clock       clock.PassiveClock
	out, errors io.Writer
	// manifests connects to the registry.
	manifests func(context.Context) (manifestSource, error)
}

func (v *verification) readTrust() error {
	if v.RemoveAll {
		return nil
	}
	var err error
	if v.identity, err = signature.ParseIdentity(v.ExpectedIdentity); err != nil {
		return fmt.Errorf("--expected-identity: %w", err)
	}
	file, err := v.Keys()
	if err != nil {
		return err
	}
	if v.keys, err = signature.ParseKeys(file); err != nil {
		return fmt.Errorf("--public-key: %s: %w", v.PublicKey, err)
	}
	return nil
}

func (v *verification) connect(ctx context.Context) (manifestSource, error) {
	return v.connectRegistry(ctx, v.Registry, 1, clock.RealClock{})
}

func (v *verification) run(ctx context.Context) error {
	image, err := v.image.ImageV1().Images().Get(ctx, v.id.String(), metav1.GetOptions{})
	if err != nil {
		return failure(exitFailed, "read Image %s: %w", v.id, err)
	}
	if len(image.Signatures) == 0 {
		return failure(exitFailed, "Image %s has no signatures", v.id)
	}
	if v.RemoveAll {
		return v.save(ctx, func(image *imagev1.Image, _ string) {
			for i := range image.Signatures {
				signature.Forget(&image.Signatures[i])
			}
		})
	}
	if err := v.fetch(ctx, image); err != nil {
		return err
	}
	now := v.clock.Now()
	judge := signature.Verifier{Keys: v.keys, Identity: v.identity, Now: now}
	trusted := v.print(image, judge)
	if v.Save {
		// Whatever signatures the Image has when it is written are judged, not those of before a conflict.
		err := v.save(ctx, func(image *imagev1.Image, user string) {
			for i := range image.Signatures {
				if s := &image.Signatures[i]; signature.Verifiable(s) {
					signature.Record(s, judge.Verify(s.Content, v.id), user, now)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	if trusted == 0 {
		return failure(exitFailed, "no signature of Image %s is trusted", v.id)
	}
	return nil
}

// fetch makes sure that the registry has the manifest that is signed, with the digest it is asked for.
func (v *verification) fetch(ctx context.Context, image *imagev1.Image) error {
	named, err := reference.ParseNormalizedNamed(image.DockerImageReference)
	if err != nil {
		return failure(exitFailed, "Image %s: dockerImageReference: %w", v.id, err)
	}
	source, err := v.manifests(ctx)
	if err != nil {
		return err
	}
	_, err = source.Manifest(ctx, reference.Path(named), v.id)
	var answer *registry.AnswerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return failure(exitFailed, "read the manifest of Image %s: %w", v.id, err)
	}
	return failure(exitRegistry, "read the manifest of Image %s: %w", v.id, err)
}

// print tells of every signature and returns how many are trusted.
func (v *verification) print(image *imagev1.Image, judge signature.Verifier) int {
	trusted := 0
	for i := range image.Signatures {
		s := &image.Signatures[i]
		if !signature.Verifiable(s) {
			fmt.Fprintf(v.out, "unverified\t%s\ttype=%q\n", s.Name, s.Type)
			continue
		}
		finding := judge.Verify(s.Content, v.id)
		if finding.Trusted {
			trusted++
			fmt.Fprintf(v.out, "trusted\t%s\tkey=%s identity=%s signed=%s\n", s.Name, finding.KeyID, finding.Identity, finding.Signed.UTC().Format(time.RFC3339))
			continue
		}
		fmt.Fprintf(v.out, "failed\t%s\treason=%s %s\n", s.Name, finding.Reason, strings.Join(strings.Fields(finding.Message), " "))
	}
	return trusted
}

// save changes the Image as it is stored now, again after a conflict. Its user is told to change.
func (v *verification) save(ctx context.Context, change func(image *imagev1.Image, user string)) error {
	review, err := v.kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return failure(exitFailed, "find out who you are: %w", err)
	}
	images := v.image.ImageV1().Images()
	err = retry.OnError(retry.DefaultBackoff, apierrors.IsConflict, func() error {
		image, err := images.Get(ctx, v.id.String(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(image, review.Status.UserInfo.Username)
		_, err = images.Update(ctx, image, metav1.UpdateOptions{})
		return err
	})
	switch {
	case apierrors.IsForbidden(err):
		return failure(exitRefused, "update Image %s: %w", v.id, err)
	case err != nil:
		return failure(exitFailed, "update Image %s: %w", v.id, err)
	}
	return nil
}
