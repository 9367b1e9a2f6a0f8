package config

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
)

// optionKind is what an option takes.
type optionKind int

const (
	text optionKind = iota
	boolean
	integer
	oneOf
	address
	origin
	anything
)

// option is one option of a driver.
type option struct {
	kind     optionKind
	required bool
	min, max int64
	of       []string
}

const (
	mebibyte = 1 << 20
	maxPart  = 5 << 30 // of S3
)

var s3Options = map[string]option{
	"accesskey": {}, "secretkey": {}, "region": {}, "bucket": {required: true}, "keyid": {}, "rootdirectory": {}, "useragent": {}, "sessiontoken": {},
	"regionendpoint": {kind: address}, "redirectendpoint": {kind: origin},
	"forcepathstyle": {kind: boolean}, "encrypt": {kind: boolean}, "secure": {kind: boolean}, "skipverify": {kind: boolean}, "v4auth": {kind: boolean},
	"usedualstack": {kind: boolean}, "accelerate": {kind: boolean}, "usefipsendpoint": {kind: boolean},
	"chunksize":                   {kind: integer, min: 5 * mebibyte, max: maxPart},
	"multipartcopychunksize":      {kind: integer, min: 5 * mebibyte, max: maxPart},
	"multipartcopymaxconcurrency": {kind: integer, min: 1, max: math.MaxInt64},
	"multipartcopythresholdsize":  {kind: integer, min: 0, max: maxPart},
	"storageclass": {kind: oneOf, of: []string{"NONE", "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING",
		"OUTPOSTS", "GLACIER_IR", "EXPRESS_ONEZONE"}},
	"objectacl": {kind: oneOf, of: []string{"private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control"}},
	"loglevel": {kind: oneOf, of: []string{"off", "false", "debug", "debugwithsigning", "debugwithhttpbody", "debugwithrequestretries", "debugwithrequesterrors",
		"debugwitheventstreambody"}},
}

// storageOptions are the options of each driver. Another one is a warning, because drivers
// pass over what they do not know.
var storageOptions = map[string]map[string]option{
	"inmemory":   {},
	"filesystem": {"rootdirectory": {}, "maxthreads": {kind: integer, min: 25, max: math.MaxInt32}},
	"s3":         s3Options,
	"s3aws":      s3Options,
	"gcs": {
		"bucket": {required: true}, "keyfile": {}, "credentials": {kind: anything}, "rootdirectory": {}, "useragent": {},
		"chunksize": {kind: integer, min: 256 << 10, max: maxPart}, "maxconcurrency": {kind: integer, min: 1, max: math.MaxInt32},
	},
	"azure": {
		"accountname": {required: true}, "container": {required: true}, "accountkey": {}, "connectionstring": {}, "realm": {}, "rootdirectory": {},
		"serviceurl": {kind: address}, "credentials": {kind: anything}, "max_retries": {kind: integer, min: 0, max: 1000}, "retry_delay": {},
		"skipverify": {kind: boolean},
	},
}

// check tells what is wrong with a value, without repeating texts: they may be secrets.
func (o option) check(value any) error {
	written := fmt.Sprint(value)
	switch o.kind {
	case text, address, origin:
		s, ok := value.(string)
		if !ok {
			return errors.New("must be a text; numbers and words like yes need quotes")
		}
		if o.kind == address && !isEndpoint(s) {
			return errors.New("must be an address like https://host:port")
		}
		if o.kind == origin && !isOrigin(s) {
			return errors.New("must have the form scheme://host[:port]")
		}
	case boolean:
		if _, ok := value.(bool); !ok && written != "true" && written != "false" {
			return errors.New("must be true or false")
		}
	case integer:
		var n int64
		if _, err := fmt.Sscanf(written, "%d", &n); err != nil || fmt.Sprint(n) != written {
			return errors.New("must be a whole number")
		}
		if n < o.min || n > o.max {
			return fmt.Errorf("%d must be between %d and %d", n, o.min, o.max)
		}
	case oneOf:
		if !slices.ContainsFunc(o.of, func(one string) bool { return strings.EqualFold(one, written) }) {
			return fmt.Errorf("must be one of %s", strings.Join(o.of, ", "))
		}
	case anything:
	}
	return nil
}

// isEndpoint accepts a URL, or a bare host[:port], without anything that could be a secret.
func isEndpoint(s string) bool {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && u.User == nil && u.RawQuery == "" && (u.Scheme == "https" || u.Scheme == "http")
}
