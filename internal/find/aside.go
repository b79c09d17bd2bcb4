package find

import "fmt"

// Aside runs f on a thread of its own, which yields to those that carry mail, and waits
// for its end. A panic in f is its error.
func Aside(f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the search has a fault: %v", p)
			}
		}()
		yield()
		err = f()
	}()
	<-done
	return err
}
