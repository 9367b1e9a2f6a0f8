package certificates

import (
	"errors"
	"fmt"
	"time"
)

// Lifetimes are how long certificates live, and how long a new signer is known before it signs.
type Lifetimes struct {
	// Leaf is the life of a serving certificate; it is renewed when a third of it is left.
	Leaf time.Duration
	// CA is the life of a signer; the next one is published when a fifth of it is left.
	CA time.Duration
	// Promote is how long a signer is published before it signs: whoever reads the bundle, a node that was
	// switched off for a night among them, has read it by then.
	Promote time.Duration
}

// DefaultLifetimes are 90 days, 5 years and a day.
func DefaultLifetimes() Lifetimes {
	return Lifetimes{Leaf: 90 * 24 * time.Hour, CA: 1825 * 24 * time.Hour, Promote: 24 * time.Hour}
}

// The shortest lifetimes that an administrator may ask for. A kubelet brings a changed Secret or ConfigMap
// into a Pod within about 90 seconds, and a server reads it within another 60.
const (
	// MinLeaf leaves a server more than three minutes between the renewal of its pair and the end of the old.
	MinLeaf = 10 * time.Minute
	// MinPromote is what the kubelets need to bring a published signer to running Pods, and a little more.
	MinPromote = 2 * time.Minute
)

// Validate says which lifetimes cannot work together.
func (l Lifetimes) Validate() error {
	switch {
	case l.Leaf <= 0 || l.CA <= 0 || l.Promote <= 0:
		return errors.New("the lifetimes of certificates must be positive")
	case l.CA < 2*l.Leaf:
		return fmt.Errorf("a CA of %s cannot sign certificates of %s: it must live at least twice as long", l.CA, l.Leaf)
	case l.CA < 10*l.Promote:
		return fmt.Errorf("a CA of %s cannot be replaced in time when the next one waits %s: it must live at least ten times as long", l.CA, l.Promote)
	}
	return nil
}

// ValidateMinimums says which lifetimes are shorter than running servers and clients can follow.
func (l Lifetimes) ValidateMinimums() error {
	switch {
	case l.Leaf < MinLeaf:
		return fmt.Errorf("certificates of %s are too short, the least is %s: servers could not take up the next in time", l.Leaf, MinLeaf)
	case l.Promote < MinPromote:
		return fmt.Errorf("a new CA that signs after %s is too early, the least is %s: Pods would not know it yet", l.Promote, MinPromote)
	}
	return l.Validate()
}

// retire is how long a replaced signer stays trusted: one life of a leaf and a day.
func (l Lifetimes) retire() time.Duration { return l.Leaf + l.Promote }

// settle is how long a signer that had to replace a lost one is published before leaves that still work are
// signed anew by it: running clients know it by then.
func (l Lifetimes) settle() time.Duration { return min(settleTime, l.Promote) }

// linger is how long a lost signer stays in the bundle: until after leaves were signed anew, and servers show
// them.
func (l Lifetimes) linger() time.Duration { return l.Promote + 2*settleTime }

// backdate is how far a certificate is dated back, for clients whose clock is behind.
func backdate(life time.Duration) time.Duration { return min(clockSkew, life/20) }
