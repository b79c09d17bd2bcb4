// Package compact writes numbers and texts in few octets, as they stand in files and in
// Redis, and reads them.
package compact

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// ErrCut says that what was read is not whole.
var ErrCut = errors.New("data is cut off or damaged")

// Writer appends values to a slice.
type Writer []byte

func (w *Writer) U8(v uint8)    { *w = append(*w, v) }
func (w *Writer) U16(v uint16)  { *w = binary.LittleEndian.AppendUint16(*w, v) }
func (w *Writer) U32(v uint32)  { *w = binary.LittleEndian.AppendUint32(*w, v) }
func (w *Writer) U64(v uint64)  { *w = binary.LittleEndian.AppendUint64(*w, v) }
func (w *Writer) F32(v float32) { w.U32(math.Float32bits(v)) }
func (w *Writer) Num(v int)     { *w = binary.AppendUvarint(*w, uint64(v)) }
func (w *Writer) Str(s string)  { w.Num(len(s)); *w = append(*w, s...) }

// Reader takes values off a slice. After the first that is not there, bad is
// set and all are zero.
type Reader struct {
	Rest []byte // what was not read yet
	Bad  bool
}

func (r *Reader) Take(n int) []byte {
	if r.Bad || n < 0 || n > len(r.Rest) {
		r.Bad = true
		return nil
	}
	b := r.Rest[:n]
	r.Rest = r.Rest[n:]
	return b
}

func (r *Reader) U8() uint8 {
	if b := r.Take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *Reader) U16() uint16 {
	if b := r.Take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *Reader) U32() uint32 {
	if b := r.Take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *Reader) U64() uint64 {
	if b := r.Take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *Reader) F32() float32 {
	f := math.Float32frombits(r.U32())
	if f != f || f < 0 || f > math.MaxFloat32 {
		r.Bad = true
		return 0
	}
	return f
}

func (r *Reader) Num() int {
	v, n := binary.Uvarint(r.Rest)
	if n <= 0 || v > math.MaxInt64 {
		r.Bad = true
		return 0
	}
	r.Take(n)
	return int(v)
}

func (r *Reader) Str() string { return string(r.Take(r.Num())) }

func (r *Reader) Err() error {
	if r.Bad {
		return ErrCut
	}
	return nil
}

// Packed is a number of recipients, or of 64ths, as it is stored: exact up to
// 2,047, beyond that with eleven significant bits, rounded.
func Packed(f float32) uint16 {
	n := uint64(math.Round(float64(min(max(f, 0), 1<<40))))
	if n < 2048 {
		return uint16(n)
	}
	e := bits.Len64(n) - 12 // n is in [2^(11+e), 2^(12+e))
	m := (n + (1<<e)/2) >> e
	if m >= 4096 {
		m, e = m/2, e+1
	}
	return uint16(e+1)<<11 | uint16(m&0x7FF)
}

// Unpacked is the number that Packed has stored.
func Unpacked(c uint16) float32 {
	e := c >> 11
	if e == 0 {
		return float32(c)
	}
	return float32(uint64(c&0x7FF|0x800) << (e - 1))
}

// AddHistory adds n to a number in eight bits, eight steps to each doubling;
// dither decides between the two steps that the sum lies between. What is added
// one by one is so off by a fifth (standard error).
func AddHistory(h uint8, n float32, dither uint32) uint8 {
	if n <= 0 {
		return h
	}
	sum := historyTable[h] + n
	for h < 255 && sum >= historyTable[h+1] {
		h++
	}
	if h == 255 {
		return h
	}
	step := historyTable[h+1] - historyTable[h]
	if sum-historyTable[h] > step*float32(dither*0x9E3779B1>>8)/(1<<24) {
		h++
	}
	return h
}

// HistoryOf is the number of recipients that h stands for.
func HistoryOf(h uint8) float32 { return historyTable[h] - 1 }

var historyTable = func() (t [256]float32) {
	for i := range t {
		t[i] = float32(math.Exp2(float64(i) / 8))
	}
	return t
}()
