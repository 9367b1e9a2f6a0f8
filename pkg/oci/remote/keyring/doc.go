// Package keyring finds the credentials for a repository among pull secrets.
//
// In: Secrets of type kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg, or files of that
// form. Out: for a registry and a repository, every credential whose key matches, the most specific key
// first. Keys match as they do in the kubelet, so that what a Pod can pull can also be imported:
// host with * within a label, the very same port, and the beginning of the path.
//
// Several keyrings can be joined; an earlier one goes before a later one whatever their keys are.
//
// The package never decides which credential is right, which only the registry can tell, and no error
// or warning of it repeats any part of a secret's content.
package keyring
