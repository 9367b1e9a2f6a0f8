// Package namespacepull lets the workloads of a namespace pull the images of that namespace without a
// grant by anybody: each namespace in scope gets a RoleBinding of the role system:image-puller to the
// group of its ServiceAccounts.
//
// In come Namespaces, the RoleBindings of that name and Config/cluster. Out come created and deleted
// RoleBindings. Decide is a pure function.
//
// It never changes a RoleBinding that exists: an administrator opts a namespace out by removing the
// subjects. It never deletes one that does not carry the owner annotation.
package namespacepull
