// Package importcontrollers tests the controllers of imports on a real kube-apiserver and etcd, with a stock
// second registry on loopback: what a spec asks for, what repeats, and what is left alone.
package importcontrollers
