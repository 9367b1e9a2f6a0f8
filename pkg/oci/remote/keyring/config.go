package keyring

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// maxConfigBytes is the size limit of a Secret.
const maxConfigBytes = 1 << 20

// Fixed texts: the messages of decoders quote their input, and the input is secret.
var (
	errConfig   = errors.New("is not a Docker configuration")
	errTooLarge = errors.New("is larger than 1 MiB")
	errAuth     = errors.New("auth is not user:password in base64")
)

type login struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// parseConfig reads {"auths": {key: login}}.
func parseConfig(data []byte) ([]entry, error) {
	var config struct {
		Auths map[string]login `json:"auths"`
	}
	if len(data) > maxConfigBytes {
		return nil, errTooLarge
	}
	if json.Unmarshal(data, &config) != nil {
		return nil, errConfig
	}
	return entries(config.Auths)
}

// parseLegacy reads {key: login}. Some tools wrote the newer form under the old name, so that is
// accepted, too.
func parseLegacy(data []byte) ([]entry, error) {
	if len(data) > maxConfigBytes {
		return nil, errTooLarge
	}
	var logins map[string]json.RawMessage
	if json.Unmarshal(data, &logins) != nil {
		return nil, errConfig
	}
	if _, ok := logins["auths"]; ok && len(logins) == 1 {
		return parseConfig(data)
	}
	var config map[string]login
	if json.Unmarshal(data, &config) != nil {
		return nil, errConfig
	}
	return entries(config)
}

func entries(logins map[string]login) ([]entry, error) {
	var found []entry
	for _, key := range slices.Sorted(maps.Keys(logins)) {
		p, err := parsePattern(key)
		if err != nil {
			return nil, err
		}
		c, err := logins[key].credential()
		if err != nil {
			return nil, err
		}
		// An entry without content says that some helper program knows the credential.
		if c != (Credential{}) {
			found = append(found, entry{pattern: p, credential: c})
		}
	}
	return found, nil
}

func (l login) credential() (Credential, error) {
	c := Credential{
		Username: l.Username, Password: l.Password,
		IdentityToken: l.IdentityToken, RegistryToken: l.RegistryToken,
	}
	if l.Auth != "" {
		user, password, err := decodeAuth(l.Auth)
		if err != nil {
			return Credential{}, err
		}
		c.Username, c.Password = user, password
	}
	if c.Password == "" && c.IdentityToken == "" && c.RegistryToken == "" {
		return Credential{}, nil
	}
	return c, nil
}

func decodeAuth(auth string) (user, password string, err error) {
	encoding := base64.StdEncoding
	if !strings.HasSuffix(auth, "=") {
		encoding = base64.RawStdEncoding
	}
	plain, err := encoding.DecodeString(auth)
	if err != nil {
		return "", "", errAuth
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok {
		return "", "", errAuth
	}
	// Some tools pad with NUL bytes.
	return user, strings.Trim(password, "\x00"), nil
}
