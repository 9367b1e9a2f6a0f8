// Command etcd is the stock etcd server, pinned by this module's go.mod.
//
// The upstream command lives in a module whose own go.mod cannot be installed
// on its own, so its entry point is called from here.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
