package agent

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// watcher tells when something changed in a set of directories. Without inotify, or beyond its limits,
// it stays silent and the timer has to do.
type watcher struct {
	notify *fsnotify.Watcher
	dirs   map[string]bool
	log    *zap.Logger
	warned bool
}

func newWatcher(log *zap.Logger) *watcher {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		log.Info("changes are noticed by polling only", zap.Error(err))
		return &watcher{log: log}
	}
	go func() {
		for range notify.Errors { // unread errors would block the events; the timer makes up for lost ones
		}
	}()
	return &watcher{notify: notify, dirs: map[string]bool{}, log: log}
}

func (w *watcher) close() {
	if w.notify != nil {
		w.notify.Close()
	}
}

func (w *watcher) disable() { w.notify = nil }

func (w *watcher) events() <-chan fsnotify.Event {
	if w.notify == nil {
		return nil
	}
	return w.notify.Events
}

// update makes the set of watched directories the given one.
func (w *watcher) update(dirs []string) {
	if w.notify == nil {
		return
	}
	wanted := map[string]bool{}
	for _, dir := range dirs {
		wanted[dir] = true
		if w.dirs[dir] {
			continue
		}
		if err := w.notify.Add(dir); err == nil {
			w.dirs[dir] = true
		} else if !os.IsNotExist(err) && !w.warned {
			w.warned = true
			w.log.Info("some changes are noticed by polling only", zap.Error(err))
		}
	}
	// A directory that was removed lost its watch; it is added again if it comes back.
	live := map[string]bool{}
	for _, dir := range w.notify.WatchList() {
		live[dir] = true
	}
	for dir := range w.dirs {
		switch {
		case !live[dir]:
			delete(w.dirs, dir)
		case !wanted[dir]:
			_ = w.notify.Remove(dir)
			delete(w.dirs, dir)
		}
	}
}

// relevant leaves out the agent's own temporary entries and what is none of its business in /etc.
func (a *Agent) relevant(event fsnotify.Event) bool {
	dir, name := filepath.Split(event.Name)
	if filepath.Clean(dir) != filepath.Clean(a.options.HostEtc) {
		return !strings.HasPrefix(name, ".node-ca-")
	}
	return name == "hosts" || name == "containerd" || name == "containers" || name == "docker"
}

// watched lists the directories whose changes matter: both volumes, the node's /etc, the trust roots
// and the directories of the hosts in them.
func (a *Agent) watched() []string {
	dirs := []string{a.options.CertificatesDir, a.options.ConfigDir, a.options.HostEtc}
	for _, root := range a.last.Roots {
		path := filepath.Join(a.options.HostEtc, strings.TrimPrefix(root.Path, "/etc"))
		dirs = append(dirs, path)
		for _, host := range a.last.Hosts {
			for _, served := range host.Roots {
				if served == root.Path {
					dirs = append(dirs, filepath.Join(path, host.Name))
				}
			}
		}
	}
	return dirs
}
