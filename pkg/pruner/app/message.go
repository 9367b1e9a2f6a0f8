package app

import (
	"errors"

	"image.alauda.io/registry/pkg/pruner/report"
)

// message is an error in one line. It may repeat what somebody else wrote, unlike one about usage.
func message(err error) string {
	var exit *exitError
	if errors.As(err, &exit) {
		return report.OneLine(err.Error())
	}
	return err.Error()
}
