//go:build component

package objectstorage

const processVariable = "OBJECTSTORAGE_PROCESS"

func process() int { return 0 }
