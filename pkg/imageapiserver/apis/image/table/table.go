// Package table builds the tables that kubectl prints for resources of the
// image API group.
//
// In: the columns of a resource and a function that fills the cells of one
// object. Out: a rest.TableConvertor that works for single objects and lists.
// The package also writes ages and sizes the way kubectl does.
//
// It never reads anything but the objects it is given, and tolerates objects
// of which parts are missing.
package table

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/clock"
)

// Row fills the cells of one object, one for each column.
type Row func(obj runtime.Object) ([]any, error)

// Convertor turns objects of one resource into tables.
type Convertor struct {
	columns []metav1.TableColumnDefinition
	row     Row
}

// New returns a convertor for columns filled by row.
func New(columns []metav1.TableColumnDefinition, row Row) *Convertor {
	return &Convertor{columns: columns, row: row}
}

// Column is a column that is always shown.
func Column(name, description string) metav1.TableColumnDefinition {
	column := metav1.TableColumnDefinition{Name: name, Type: "string", Description: description}
	if name == "Name" {
		column.Format = "name"
	}
	return column
}

// Wide is a column that is shown with -o wide only.
func Wide(name, description string) metav1.TableColumnDefinition {
	column := Column(name, description)
	column.Priority = 1
	return column
}

// ConvertToTable implements rest.TableConvertor.
func (c *Convertor) ConvertToTable(_ context.Context, obj, tableOptions runtime.Object) (*metav1.Table, error) {
	result := &metav1.Table{}
	if options, ok := tableOptions.(*metav1.TableOptions); !ok || !options.NoHeaders {
		result.ColumnDefinitions = c.columns
	}
	if list, err := meta.ListAccessor(obj); err == nil {
		result.ResourceVersion = list.GetResourceVersion()
		result.Continue = list.GetContinue()
		result.RemainingItemCount = list.GetRemainingItemCount()
	} else if single, err := meta.CommonAccessor(obj); err == nil {
		result.ResourceVersion = single.GetResourceVersion()
	}
	if !meta.IsListType(obj) {
		return result, c.add(result, obj)
	}
	err := meta.EachListItem(obj, func(item runtime.Object) error { return c.add(result, item) })
	return result, err
}

func (c *Convertor) add(result *metav1.Table, obj runtime.Object) error {
	cells, err := c.row(obj)
	if err != nil {
		return fmt.Errorf("table row: %w", err)
	}
	if len(cells) != len(c.columns) {
		return fmt.Errorf("table row of %T has %d cells for %d columns", obj, len(cells), len(c.columns))
	}
	result.Rows = append(result.Rows, metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: obj}})
	return nil
}

// Age is the time since t as kubectl writes it, empty when t is not set.
func Age(t metav1.Time, clock clock.PassiveClock) string {
	if t.IsZero() {
		return ""
	}
	return duration.HumanDuration(clock.Since(t.Time).Truncate(time.Second))
}

// Size is a number of bytes in words, empty when it is not known.
func Size(bytes int64) string {
	const step = 1024
	if bytes <= 0 {
		return ""
	}
	value, unit := float64(bytes), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for value >= step && unit < len(units)-1 {
		value /= step
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
