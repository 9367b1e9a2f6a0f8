package compress

import (
	"bytes"
	"strings"
	"testing"

	storagev1 "image.alauda.io/api/storage/v1"
)

func newCompressor(t testing.TB, compress bool) *Compressor {
	t.Helper()
	c, err := New(compress)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryReaderReadsEveryFormat(t *testing.T) {
	json := []byte(`{"kind":"Image","layers":"` + strings.Repeat("sha256:", 1000) + `"}`)
	for _, writes := range []bool{true, false} {
		spec := newCompressor(t, writes).Pack(json)
		for _, reads := range []bool{true, false} {
			got, err := newCompressor(t, reads).Unpack(spec)
			if err != nil || !bytes.Equal(got, json) {
				t.Errorf("written with compression=%t, read with compression=%t: got %d bytes, error %v", writes, reads, len(got), err)
			}
		}
	}
}

func TestCompressionSavesSpace(t *testing.T) {
	json := []byte(strings.Repeat(`{"name":"sha256:0123456789abcdef"}`, 100))
	if got := newCompressor(t, true).StoredSize(json); got > len(json)/4 {
		t.Errorf("%d bytes of repetitive JSON take %d bytes", len(json), got)
	}
}

func TestDamagedPayloadsAreRefused(t *testing.T) {
	c := newCompressor(t, true)
	good := c.Pack([]byte(`{"a":"b"}`))
	bomb := c.Pack(make([]byte, MaxSize+1))
	cases := map[string]storagev1.RecordSpec{
		"unknown format":           {Format: "json+brotli", Size: good.Size, Data: good.Data},
		"truncated":                {Format: good.Format, Size: good.Size, Data: good.Data[:len(good.Data)-3]},
		"no zstd":                  {Format: good.Format, Size: good.Size, Data: []byte("{}")},
		"size too small":           {Format: good.Format, Size: good.Size - 1, Data: good.Data},
		"size of plain JSON wrong": {Format: storagev1.FormatJSON, Size: 7, Data: []byte("{}")},
		"negative size":            {Format: storagev1.FormatJSON, Size: -1, Data: []byte("{}")},
		"unpacks to too much":      {Format: bomb.Format, Size: MaxSize, Data: bomb.Data},
		"tells that it is too big": bomb,
	}
	for name, spec := range cases {
		if _, err := c.Unpack(spec); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTransformerReadsOldAndNewValues(t *testing.T) {
	json := []byte(`{"kind":"ImageStream"}`)
	compressing, plain := newCompressor(t, true).Transformer(nil), newCompressor(t, false).Transformer(nil)
	stored, err := compressing.TransformToStorage(t.Context(), json, nil)
	if err != nil || stored[0] != zstdMarker {
		t.Fatalf("stored value %x, error %v: want the marker first", stored, err)
	}
	for name, value := range map[string][]byte{"compressed": stored, "plain": json} {
		got, stale, err := plain.TransformFromStorage(t.Context(), value, nil)
		if err != nil || stale || !bytes.Equal(got, json) {
			t.Errorf("%s value: got %q, stale %t, error %v", name, got, stale, err)
		}
	}
	if _, _, err := plain.TransformFromStorage(t.Context(), []byte{zstdMarker, 0xff}, nil); err == nil {
		t.Error("a damaged value was accepted")
	}
	if _, err := compressing.TransformToStorage(t.Context(), make([]byte, MaxSize+1), nil); err == nil {
		t.Error("a value was written that nobody could read again")
	}
}

func FuzzUnpack(f *testing.F) {
	c := newCompressor(f, true)
	good := c.Pack([]byte(`{"a":"b"}`))
	f.Add(string(good.Format), good.Size, good.Data)
	f.Add("json", int64(2), []byte("{}"))
	f.Fuzz(func(t *testing.T, format string, size int64, data []byte) {
		json, err := c.Unpack(storagev1.RecordSpec{Format: storagev1.RecordFormat(format), Size: size, Data: data})
		if err == nil && int64(len(json)) != size {
			t.Errorf("accepted %d bytes with a recorded size of %d", len(json), size)
		}
	})
}
