// Package options holds the settings of a prune as given on the command line: their names, defaults and
// limits.
//
// In come flags. Out come checked values, among them the parsed address of the registry. Every mistake is
// found before the first request and named by its flag.
//
// It never talks to anything but the file of certificates that a flag names.
package options
