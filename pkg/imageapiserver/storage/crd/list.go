package crd

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/klog/v2"

	imagev1 "image.alauda.io/api/image/v1"
)

// pageSize bounds one answer of kube-apiserver; longer lists are read page by page, all from the same
// version of the storage.
const pageSize = 500

// GetList implements storage.Interface.
func (s *Store) GetList(ctx context.Context, key string, opts storage.ListOptions, listObj runtime.Object) error {
	at, err := s.locate(key, opts.Recursive)
	if err != nil {
		return err
	}
	if _, _, err := storage.ValidateListOptions(at.key, s.versioner, opts); err != nil {
		return err
	}
	itemsPtr, err := meta.GetItemsPtr(listObj)
	if err != nil {
		return err
	}
	items, err := conversion.EnforcePtr(itemsPtr)
	if err != nil || items.Kind() != reflect.Slice {
		return fmt.Errorf("list %s: %T has no slice of items", at.key, listObj)
	}
	if items.IsNil() {
		items.Set(reflect.MakeSlice(items.Type(), 0, 0))
	}
	itemType := items.Type().Elem()
	result := &listing{
		store: s, at: at, opts: opts,
		newItem: func() runtime.Object {
			item, _ := reflect.New(itemType).Interface().(runtime.Object)
			return item
		},
		grow: func(n int) { items.Grow(n) },
		add:  func(obj runtime.Object) { items.Set(reflect.Append(items, reflect.ValueOf(obj).Elem())) },
	}
	if result.newItem() == nil {
		return fmt.Errorf("list %s: items of type %s are not API objects", at.key, itemType)
	}
	if err := result.read(ctx); err != nil {
		return err
	}
	version, err := strconv.ParseUint(result.version, 10, 64)
	if err != nil {
		return fmt.Errorf("list %s: resource version %q of kube-apiserver: %w", at.key, result.version, err)
	}
	return s.versioner.UpdateList(listObj, version, result.continueToken, result.remaining)
}

// listing collects the items of one list over as many pages as it takes.
type listing struct {
	store *Store
	at    location
	opts  storage.ListOptions
	// newItem makes an empty object, grow makes room for so many more, add takes one that matches.
	newItem func() runtime.Object
	grow    func(n int)
	add     func(runtime.Object)

	// oldest is the version that the list must have reached, empty for none.
	oldest        string
	count         int64
	version       string
	continueToken string
	remaining     *int64
}

func (l *listing) read(ctx context.Context) error {
	params := l.firstPage()
	for {
		page, err := l.store.listRecords(ctx, l.at, params)
		if err != nil {
			return err
		}
		l.version = page.ResourceVersion
		if err := l.notOlder(); err != nil {
			return err
		}
		done, err := l.take(ctx, page)
		if err != nil || done {
			return err
		}
		// Only the first page names a version; the token carries it on.
		params = listParams{limit: params.limit, continueToken: page.Continue, labelSelector: params.labelSelector}
		if limit := l.opts.Predicate.Limit; limit > 0 && !l.filtered() {
			params.limit = min(pageSize, limit-l.count)
		}
	}
}

// firstPage translates the options. A paged read of "any" version is made from the latest one, since
// kube-apiserver's cache would ignore the limit.
func (l *listing) firstPage() listParams {
	params := listParams{
		limit:                pageSize,
		continueToken:        l.opts.Predicate.Continue,
		resourceVersion:      l.opts.ResourceVersion,
		resourceVersionMatch: l.opts.ResourceVersionMatch,
	}
	if limit := l.opts.Predicate.Limit; limit > 0 {
		params.limit = min(pageSize, limit)
	}
	if params.resourceVersion == "0" || params.continueToken != "" {
		params.resourceVersion, params.resourceVersionMatch = "", ""
	}
	// Without a limit from the caller, a version without match means "not older than"; with the
	// page limit that is added here it would mean "exactly". The latest is not older, and all of it in
	// one answer would be too much.
	if params.resourceVersion != "" && params.resourceVersionMatch == "" && l.opts.Predicate.Limit == 0 && l.opts.Recursive {
		l.oldest, params.resourceVersion = params.resourceVersion, ""
	}
	if selector := l.opts.Predicate.Label; selector != nil && !selector.Empty() {
		params.labelSelector = selector.String()
	}
	if !l.opts.Recursive {
		params.limit, params.continueToken = 0, ""
	}
	return params
}

// notOlder refuses a list from before the version that the caller has seen.
func (l *listing) notOlder() error {
	if l.oldest == "" {
		return nil
	}
	oldest, err := l.store.versioner.ParseResourceVersion(l.oldest)
	if err != nil {
		return err
	}
	version, err := l.store.versioner.ParseResourceVersion(l.version)
	if err != nil {
		return err
	}
	if version < oldest {
		return storage.NewTooLargeResourceVersionError(oldest, version, 1)
	}
	return nil
}

// filtered tells that items are also selected here, so that a page of records may hold fewer items.
func (l *listing) filtered() bool {
	field := l.opts.Predicate.Field
	return field != nil && !field.Empty()
}

// take appends the matching items of a page and tells whether the list is complete.
func (l *listing) take(ctx context.Context, page *recordList) (bool, error) {
	if l.at.empty {
		return true, nil
	}
	limit := l.opts.Predicate.Limit
	l.reserve(page)
	for i := range page.Items {
		if limit > 0 && l.count >= limit {
			return true, l.cutAfter(&page.Items[i-1], page, int64(len(page.Items)-i))
		}
		l.appendItem(ctx, &page.Items[i])
	}
	if page.Continue == "" {
		return true, nil
	}
	if limit > 0 && l.count >= limit {
		l.continueToken = page.Continue
		if l.opts.Predicate.Empty() {
			l.remaining = page.RemainingItemCount
		}
		return true, nil
	}
	return false, nil
}

// maxReserve bounds the room that is made for items before they have come.
const maxReserve = 100000

// reserve makes room for a page and, with the first of an unlimited list, for all that follow.
func (l *listing) reserve(page *recordList) {
	expected := len(page.Items)
	if l.count == 0 && l.opts.Predicate.Limit == 0 && !l.filtered() && page.RemainingItemCount != nil {
		expected += int(min(*page.RemainingItemCount, maxReserve))
	}
	l.grow(expected)
}

// cutAfter ends a list in the middle of a page, with a token like kube-apiserver would have made.
func (l *listing) cutAfter(last *record, page *recordList, left int64) error {
	version, err := strconv.ParseInt(page.ResourceVersion, 10, 64)
	if err != nil {
		return fmt.Errorf("list %s: resource version %q of kube-apiserver: %w", l.at.key, page.ResourceVersion, err)
	}
	key := "/" + last.Name
	if l.store.config.Namespaced && l.at.namespace == "" {
		key = "/" + last.Namespace + key
	}
	if l.continueToken, err = storage.EncodeContinue(key+"\x00", "/", version); err != nil {
		return err
	}
	if l.opts.Predicate.Empty() {
		if page.RemainingItemCount != nil {
			left += *page.RemainingItemCount
		}
		l.remaining = &left
	}
	return nil
}

// appendItem decodes a record and adds it if it is selected. A damaged record must not make all
// others unreadable: it is logged and left out. The client is warned: whoever deletes what he finds in
// no list must not believe this one.
func (l *listing) appendItem(ctx context.Context, r *record) {
	obj, err := l.store.decode(r, l.newItem())
	if err != nil {
		klog.ErrorS(err, "Record left out of a list")
		warning.AddWarning(ctx, "", imagev1.WarningIncompleteList)
		return
	}
	// What has no attributes to select by is not selected.
	if matched, err := l.opts.Predicate.Matches(obj); err != nil || !matched {
		return
	}
	l.add(obj)
	l.count++
}

// objects lists what matches, with the version of the list.
func (s *Store) objects(ctx context.Context, at location, opts storage.ListOptions) ([]runtime.Object, uint64, error) {
	var found []runtime.Object
	l := &listing{
		store: s, at: at, opts: opts,
		newItem: s.config.NewFunc,
		grow:    func(n int) { found = slices.Grow(found, n) },
		add:     func(obj runtime.Object) { found = append(found, obj) },
	}
	if err := l.read(ctx); err != nil {
		return nil, 0, err
	}
	version, err := s.versioner.ParseResourceVersion(l.version)
	return found, version, err
}
