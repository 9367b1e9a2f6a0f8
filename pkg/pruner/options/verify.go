package options

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// Verify are the settings of `pruner verify-image-signature`.
type Verify struct {
	Registry
	// ExpectedIdentity is the name that the signer must have given to the image.
	ExpectedIdentity string
	// PublicKey is a file with the keys that are trusted.
	PublicKey string
	// Save records what was found in the Image; RemoveAll removes what was recorded.
	Save      bool
	RemoveAll bool
}

// VerifyDefaults returns the documented defaults, in the environment of getenv.
func VerifyDefaults(getenv func(string) string) Verify {
	home := getenv("GNUPGHOME")
	if home == "" {
		home = filepath.Join(getenv("HOME"), ".gnupg")
	}
	return Verify{PublicKey: filepath.Join(home, "pubring.gpg")}
}

// AddFlags binds v, whose values become the defaults.
func (v *Verify) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&v.ExpectedIdentity, "expected-identity", v.ExpectedIdentity, "image reference under which the image must be signed; with a digest, any tag of the repository is right")
	flags.StringVar(&v.PublicKey, "public-key", v.PublicKey, "file with the OpenPGP keys to trust")
	flags.Lookup("public-key").DefValue = "$GNUPGHOME/pubring.gpg"
	flags.BoolVar(&v.Save, "save", v.Save, "record in the Image what was found")
	flags.BoolVar(&v.RemoveAll, "remove-all", v.RemoveAll, "remove from the Image what verifications have recorded; the signatures stay")
	v.addFlags(flags)
	flags.BoolVar(&v.ForceInsecure, "insecure", v.ForceInsecure, "allow plain HTTP and unverifiable TLS to the registry")
	_ = flags.MarkHidden("force-insecure") // the other commands call it so
}

// Validate checks everything that can be checked without a request. Each error names its flag.
func (v *Verify) Validate() error {
	switch {
	case v.RemoveAll && v.ExpectedIdentity != "":
		return errors.New("--remove-all and --expected-identity exclude each other")
	case v.RemoveAll && v.Save:
		return errors.New("--remove-all and --save exclude each other: what is removed is saved at once")
	case !v.RemoveAll && v.ExpectedIdentity == "":
		return errors.New("--expected-identity must be given: a good signature of another image is of no use")
	}
	return v.Registry.Validate()
}

// Keys reads the file of --public-key.
func (v *Verify) Keys() ([]byte, error) {
	file, err := os.ReadFile(v.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("--public-key: %w", err)
	}
	return file, nil
}
