package v1

// WireError tells that an object as it came cannot be understood: its writer
// made a mistake.
type WireError struct {
	// Field is where.
	Field string
	// Err is what.
	Err error
}

// Error names the field.
func (e *WireError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns what is wrong with the field.
func (e *WireError) Unwrap() error { return e.Err }
