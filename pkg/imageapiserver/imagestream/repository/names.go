package repository

// InternalNames are the names, with port, by which the registry is reached
// inside the cluster.
func (h Hosts) InternalNames() []string {
	if h.Internal == "" {
		return nil
	}
	names := []string{h.Internal}
	if qualified := h.qualifiedInternal(); qualified != "" {
		names = append(names, qualified)
	}
	return names
}

// Names are all names of the registry.
func (h Hosts) Names() []string {
	names := h.InternalNames()
	for _, external := range h.External {
		if external != "" {
			names = append(names, external)
		}
	}
	return names
}
