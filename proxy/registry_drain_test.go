package proxy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestRegistryDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(rules(t, pos), unbounded, unbounded)
		var cut []string
		here, err := d.arrive(till1, func() { cut = append(cut, "here") })
		if err != nil {
			t.Fatal(err)
		}
		gone, err := d.arrive(till1, func() { cut = append(cut, "gone") })
		if err != nil {
			t.Fatal(err)
		}
		gone.release()
		quick, slow := mustAdmit(t, d, to(till1, "a.example")), mustAdmit(t, d, to(till1, "b.example"))
		drained := make(chan struct{})
		start := time.Now()
		go func() {
			defer close(drained)
			d.drain(10 * time.Second)
		}()
		synctest.Wait()
		if len(cut) != 1 || cut[0] != "here" {
			t.Errorf("cut %v at once, want the guest that is there", cut)
		}
		here.release()
		if _, err := d.arrive(till1, nil); err != errStopping {
			t.Errorf("a guest may come: %v", err)
		}
		if _, err := d.admit(to(till1, "a.example")); err != errStopping {
			t.Errorf("a tunnel may come: %v", err)
		}
		quick.release()

		<-slow.ctx.Done()
		if waited := time.Since(start); waited != 10*time.Second || context.Cause(slow.ctx) != errStopping {
			t.Errorf("after %v: %v", waited, context.Cause(slow.ctx))
		}
		synctest.Wait()
		select {
		case <-drained:
			t.Error("drained with a place taken")
		default:
		}
		slow.release()
		<-drained
	})
}

func TestRegistryDrainEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(rules(t, pos), unbounded, unbounded)
		s := mustAdmit(t, d, to(till1, "a.example"))
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			s.release()
			s.release()
		}()
		d.drain(10 * time.Second)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("took %v", waited)
		}
	})
	newDesk(rules(t, pos), unbounded, unbounded).drain(time.Hour) // of nobody: at once
}
