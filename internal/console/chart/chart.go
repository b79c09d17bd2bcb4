// Package chart draws numbers over time as SVG. It writes no text into the picture and no
// style: labels stand beside it in HTML, colours come from classes, and what a picture
// shows is said in words by who places it. A picture stretches to the width that it gets.
package chart

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// Bar is one place of a picture of bars.
type Bar struct {
	// Parts stand on one another, the lowest first: relayed, deferred, refused.
	Parts [3]int
	Band
}

// Band is what is usual; one without Known is not drawn.
type Band struct {
	Low, High float64
	Known     bool
}

// Point is one place of a picture of a line. Missing ones are still to come, or unknown.
type Point struct {
	Value   int
	Missing bool
	Band
	// Link is where a dot on the point leads to, Says its name; a blank Link means no dot.
	Link, Says string
}

const (
	height = 100
	step   = 10
)

// partClasses are the classes of the parts of a bar.
var partClasses = [3]string{"relayed", "deferred", "refused"}

// Bars draws bars over bands; top is the number at the upper edge.
func Bars(bars []Bar, top float64) template.HTML {
	var b strings.Builder
	bands := make([]Band, len(bars))
	for i := range bars {
		bands[i] = bars[i].Band
	}
	begin(&b, bands, top)
	for i := range bars {
		sum := 0
		for part, n := range bars[i].Parts {
			if n <= 0 {
				continue
			}
			low := y(float64(sum), top)
			sum += n
			high := min(y(float64(sum), top), low-1) // what is there is seen
			fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d"/>`, partClasses[part], i*step+2, high, step-4, low-high)
		}
	}
	return end(&b)
}

// Line draws a line over bands, with dots that lead somewhere.
func Line(points []Point, top float64) template.HTML {
	var b strings.Builder
	bands := make([]Band, len(points))
	for i := range points {
		bands[i] = points[i].Band
	}
	begin(&b, bands, top)
	b.WriteString(`<path class="value" d="`)
	known := false
	last := 0
	for i := range points {
		at := y(float64(points[i].Value), top)
		switch {
		case points[i].Missing:
		case !known:
			fmt.Fprintf(&b, "M%d %dh%d", i*step, at, step)
		case at != last:
			fmt.Fprintf(&b, "v%dh%d", at-last, step)
		default:
			fmt.Fprintf(&b, "h%d", step)
		}
		last, known = at, !points[i].Missing
	}
	b.WriteString(`"/>`)
	for i := range points {
		if p := &points[i]; p.Link != "" && !p.Missing {
			// A line without length and with round ends stays round however the picture is stretched.
			fmt.Fprintf(&b, `<a href="%s" aria-label="%s"><path class="dot" d="M%d %dh0"/></a>`,
				template.HTMLEscapeString(p.Link), template.HTMLEscapeString(p.Says), i*step+step/2, y(float64(p.Value), top))
		}
	}
	return end(&b)
}

// Spark draws a few numbers as small bars, in few octets: a page may have many.
func Spark(numbers []int) template.HTML {
	top := 1
	for _, n := range numbers {
		top = max(top, n)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" preserveAspectRatio="none" focusable="false"><path class="relayed" d="`, len(numbers)*step, height)
	for i, n := range numbers {
		if n > 0 {
			h := max(2, height-y(float64(n), float64(top)))
			fmt.Fprintf(&b, "M%d %dv%dh6v%dz", i*step+2, height, -h, h)
		}
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String())
}

// Meter draws a share of a whole, from 0 to 1.
func Meter(share float64) template.HTML {
	width := int(math.Round(1000 * min(max(share, 0), 1)))
	class := "room"
	switch {
	case share >= 1:
		class = "full"
	case share >= 0.8:
		class = "near"
	}
	return template.HTML(fmt.Sprintf(`<svg class="meter" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">`+
		`<rect class="rest" width="1000" height="10"/><rect class="%s" width="%d" height="10"/></svg>`, class, width))
}

// Top is a round number for the upper edge of a picture of numbers up to most: 1, 2 or 5
// with zeros behind it, or a multiple of these.
func Top(most float64) int {
	if most <= 4 {
		return 4
	}
	for unit := 1; ; unit *= 10 {
		for _, n := range [...]int{1, 2, 4, 5, 6, 8} {
			if float64(n*unit) >= most {
				return n * unit
			}
		}
	}
}

func begin(b *strings.Builder, bands []Band, top float64) {
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" preserveAspectRatio="none" focusable="false">`, len(bands)*step, height)
	b.WriteString(`<path class="grid" d="M0 50H` + fmt.Sprint(len(bands)*step) + `"/>`)
	for i := 0; i < len(bands); {
		if !bands[i].Known {
			i++
			continue
		}
		end := i
		for end < len(bands) && bands[end].Known {
			end++
		}
		band(b, bands[i:end], i, top)
		i = end
	}
}

// band draws bands that stand side by side: along their upper edge, and back along the
// lower one.
func band(b *strings.Builder, bands []Band, at int, top float64) {
	fmt.Fprintf(b, `<path class="band" d="M%d %d`, at*step, y(bands[0].High, top))
	last := y(bands[0].High, top)
	to := func(level, dx int) {
		if level != last {
			fmt.Fprintf(b, "v%d", level-last)
		}
		fmt.Fprintf(b, "h%d", dx)
		last = level
	}
	for i := range bands {
		to(y(bands[i].High, top), step)
	}
	for i := len(bands) - 1; i >= 0; i-- {
		to(max(y(bands[i].Low, top), min(height, y(bands[i].High, top)+1)), -step)
	}
	b.WriteString(`Z"/>`)
}

func end(b *strings.Builder) template.HTML {
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// y is where a number stands, from 0 at the upper edge on.
func y(n, top float64) int {
	return int(math.Round(height - height*min(max(n/top, 0), 1)))
}
