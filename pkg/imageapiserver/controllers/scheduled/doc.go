// Package scheduled repeats the import of the tags that ask for it.
//
// In: image streams whose tags have importPolicy.scheduled, an interval, and a bound of imports per minute.
// Out: one import of the scheduled tags of each stream per interval, give or take a tenth, through the same
// runner as imports that a spec asks for. A registry that still offers the same digest leads to no write.
//
// When a stream was last imported is read from the stream itself, so that a new leader goes on where the
// earlier one stopped; what is overdue then is spread over a whole interval instead of being done at once.
//
// The package writes nothing and decides nothing about images.
package scheduled
