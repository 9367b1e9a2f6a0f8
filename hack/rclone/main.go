// Command rclone is the copying program of that name with what docs/operate.md asks of it: files of a volume, a bucket,
// and the command that copies. All other storages and commands of it are left out, so that it is built in a minute.
//
// In: its flags and variables RCLONE_CONFIG_…. Out: copies. A test runs it in a Pod that mounts the registry's claim.
package main

import (
	_ "github.com/rclone/rclone/backend/local"
	_ "github.com/rclone/rclone/backend/s3"
	"github.com/rclone/rclone/cmd"
	_ "github.com/rclone/rclone/cmd/copy"
)

func main() { cmd.Main() }
