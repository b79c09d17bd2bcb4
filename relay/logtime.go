package relay

import "time"

// second holds the texts of the last second that a line was of; many are of the
// same one.
type second struct {
	unix  int64
	place *time.Location // nil: none yet
	date  []byte         // "2006-01-02T15:04:05"
	zone  []byte         // "Z07:00"
}

// of is s for the second of at.
func (s *second) of(at time.Time) *second {
	if unix, place := at.Unix(), at.Location(); unix != s.unix || place != s.place {
		s.unix, s.place = unix, place
		s.date = at.AppendFormat(s.date[:0], "2006-01-02T15:04:05")
		s.zone = at.AppendFormat(s.zone[:0], "Z07:00")
	}
	return s
}

// appendMillis appends nanoseconds as ".000", rounded down.
func appendMillis(b []byte, nanos int) []byte {
	ms := nanos / 1e6
	return append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

// appendFraction appends nanoseconds as ".999999999", without zeros at the end.
func appendFraction(b []byte, nanos int) []byte {
	if nanos == 0 {
		return b
	}
	b = append(b, ".000000000"...)
	for i := len(b) - 1; nanos > 0; i-- {
		b[i] = byte('0' + nanos%10)
		nanos /= 10
	}
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}
