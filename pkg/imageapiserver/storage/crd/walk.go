package crd

import "context"

// Entry is one record as it is stored.
type Entry struct {
	// Namespace is empty for cluster-scoped objects.
	Namespace string
	// Name is the true name of the object, or that of the record when it does not tell it.
	Name string
	// JSON is the encoded object, nil when the record is damaged.
	JSON []byte
	// Err says why the record is damaged.
	Err error
}

// Walk visits all records of one version of the storage, damaged ones included, page by page. An
// error of visit ends it and is returned.
func (s *Store) Walk(ctx context.Context, visit func(Entry) error) error {
	at := location{key: s.config.ResourcePrefix}
	for params := (listParams{limit: pageSize}); ; {
		page, err := s.listRecords(ctx, at, params)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if err := visit(s.entry(&page.Items[i])); err != nil {
				return err
			}
		}
		if page.Continue == "" {
			return nil
		}
		params.continueToken = page.Continue
	}
}

func (s *Store) entry(r *record) Entry {
	e := Entry{Namespace: r.Namespace, Name: r.Name}
	if name := r.Annotations[nameAnnotation]; recordName(name) == r.Name {
		e.Name = name
	}
	e.JSON, e.Err = s.open(r)
	return e
}
