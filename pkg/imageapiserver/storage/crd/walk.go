package crd

import "context"

// Entry is one record as it is stored.
type Entry struct {
	// Namespace is empty for cluster-scoped objects.
	Namespace string
	// Name is the true name of the object; for a damaged record it is the record's name.
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
	data, err := s.open(r)
	if err != nil {
		return Entry{Namespace: r.Namespace, Name: r.Name, Err: err}
	}
	return Entry{Namespace: r.Namespace, Name: r.Annotations[nameAnnotation], JSON: data}
}
