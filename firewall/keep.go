package firewall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"tillgate/decision"
)

const (
	askAgain   = time.Second      // after the box did not answer
	applyAgain = 10 * time.Second // after the kernel did not take its rules
	// lookEvery is how often the table is looked at though nobody told of a change.
	lookEvery = 10 * time.Second
	// settle is how long a change of tables is left to be complete: others' programs
	// flush and load anew.
	settle = 100 * time.Millisecond
	// countEvery is how often the counters are read.
	countEvery = 2 * time.Second
	// sendEvery is the least time from one batch of records to the next.
	sendEvery = 250 * time.Millisecond
	// reopenAfter is how long to wait for the log, or the changes, after they failed.
	reopenAfter = 10 * time.Second
	nftWithin   = 30 * time.Second // on a slow router, with many rules
	// lastWords bounds the handing over of records at the end.
	lastWords = time.Second

	// MaxBatch is how many records are handed over at once, at most.
	MaxBatch = 256
)

// KeeperConfig is what a [Keeper] is told.
type KeeperConfig struct {
	File string // of the rules that were in force last
}

// KeeperDeps are what a Keeper uses of others.
type KeeperDeps struct {
	// Rules returns the box's rules, and the networks of its classes. It waits for a while
	// if those are what has the hash have ([HashText]), and then returns them all the same.
	Rules func(ctx context.Context, have string) (text []byte, networks []netip.Prefix, err error)
	// First makes the rules for a start without those of the last time, which are not
	// there or damaged. Nil: there are none.
	First func() ([]byte, error)
	// Records hands over records, at most MaxBatch.
	Records func(context.Context, []decision.Record) error
	// Ready is called when the last rules are in force, or there are none.
	Ready func()
	Now   func() time.Time // by Go's monotonic clock
	Log   *slog.Logger
}

// A Keeper has the box's rules in the kernel, whatever happens to the box, to itself or to
// the kernel's tables. It never takes them away: not when it ends, and not when it fails.
type Keeper struct {
	cfg   KeeperConfig
	deps  KeeperDeps
	tally *tally

	mu       sync.Mutex
	text     []byte         // to be in force; nil: the box never had any
	networks []netip.Prefix // whose old connections go around them; not known of the last rules
	shown    []byte         // what nft shows of the rules when they are in force; nil: they are not
	bare     string         // why the backstop is not in force, as it was said
}

// NewKeeper starts nothing.
func NewKeeper(cfg KeeperConfig, deps KeeperDeps) *Keeper {
	return &Keeper{cfg: cfg, deps: deps, tally: newTally(deps.Now)}
}

// Serve keeps the rules until ctx ends. It fails at once where it may not, or nft is not
// there, and never later.
func (k *Keeper) Serve(ctx context.Context) error {
	if _, err := Loaded(ctx); err != nil {
		return fmt.Errorf("looking at the rules in the kernel: %w", err)
	}
	log, err := openLog(LogGroup) // before the rules: what they stop first is seen, too
	k.restore(ctx)
	k.deps.Ready()
	var parts sync.WaitGroup
	parts.Go(func() { k.read(ctx, log, err) })
	for _, part := range []func(context.Context){k.follow, k.guard, k.count, k.send} {
		parts.Go(func() { part(ctx) })
	}
	parts.Wait()
	return nil
}

// restore puts the last rules in force, before the network is up and the box answers.
func (k *Keeper) restore(ctx context.Context) {
	text, err := os.ReadFile(k.cfg.File)
	if err == nil {
		err = CheckText(text)
	}
	from := k.cfg.File
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			k.deps.Log.Error("the last rules can't be used", "file", k.cfg.File, "err", err)
		}
		from = "the policy's files"
		if text, err = k.first(); err != nil {
			k.deps.Log.Warn("there are no rules yet; until the box has told its own, nothing is kept from the Internet here", "err", err)
			return
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.text = text
	if err := k.apply(ctx); err != nil {
		k.deps.Log.Error("the rules to begin with are not in force", "from", from, "err", err)
		k.standBehind() // at least
		return
	}
	k.deps.Log.Info("rules in force", "from", from)
	if from != k.cfg.File {
		k.save()
	}
}

// save keeps the rules for the next start.
func (k *Keeper) save() {
	if err := renameio.WriteFile(k.cfg.File, k.text, 0o640); err != nil {
		k.deps.Log.Error("the rules are not kept for the next start", "err", err)
	}
}

// first makes the rules of a first start.
func (k *Keeper) first() ([]byte, error) {
	if k.deps.First == nil {
		return nil, errors.New("none were in force before")
	}
	text, err := k.deps.First()
	if err == nil {
		err = CheckText(text)
	}
	return text, err
}

// apply puts k.text in force, in one transaction: there is no moment without rules.
func (k *Keeper) apply(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, nftWithin)
	defer cancel()
	if err := harvest(k.tally); err != nil { // the new table counts from zero
		k.deps.Log.Warn("counters could not be read before new rules", "err", err)
	}
	k.shown = nil
	if err := loadTable(ctx, k.text); err != nil {
		return err
	}
	k.standBehind()
	k.tally.renewed()
	shown, err := list(ctx)
	if err != nil {
		return err
	}
	k.shown = shown
	k.forget()
	return nil
}

// forget ends connections that are older than the rules. These stop their packets all the
// same, so that it fails is not grave: a device that asks from the same port again is not
// redirected for as long.
func (k *Keeper) forget() {
	own, err := net.InterfaceAddrs()
	var local []netip.Addr
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			local = append(local, p.Addr())
		}
	}
	if err == nil {
		_, err = Forget(k.networks, local)
	}
	if err != nil {
		k.deps.Log.Warn("connections older than the rules are not ended", "err", err)
	}
}

// follow has the box's rules in force.
func (k *Keeper) follow(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		wait, err := k.update(ctx)
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil && err.Error() != said: // a box that is off says so once
			said = err.Error()
			k.deps.Log.Warn("the rules that were in force last stay", "err", err)
		}
		pause(ctx, wait)
	}
}

// nothing is what the keeper says that it has when no rules are in force.
const nothing = "none"

// update asks for rules once, and says how long to wait until it is to ask again.
func (k *Keeper) update(ctx context.Context) (wait time.Duration, err error) {
	k.mu.Lock()
	have := HashText(k.text)
	if k.shown == nil {
		have = nothing
	}
	k.mu.Unlock()
	text, networks, err := k.deps.Rules(ctx, have)
	if err != nil {
		return askAgain, fmt.Errorf("asking the box for its rules: %w", err)
	}
	if HashText(text) == have {
		return settle, nil
	}
	if err := CheckText(text); err != nil {
		return applyAgain, fmt.Errorf("the box's rules were not taken: %w", err)
	}
	if err := k.enact(ctx, text, networks); err != nil {
		return applyAgain, fmt.Errorf("the box's rules are not in force: %w", err)
	}
	return 0, nil
}

// enact puts new rules in force, and keeps them for the next start. Rules that the kernel
// does not take leave those before them, and the file, as they are.
func (k *Keeper) enact(ctx context.Context, text []byte, networks []netip.Prefix) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, beforeNetworks := k.text, k.networks
	k.text, k.networks = text, networks
	if err := k.apply(ctx); err != nil {
		k.text, k.networks = before, beforeNetworks
		return err
	}
	k.deps.Log.Info("rules in force", "hash", HashText(text)[:12])
	k.save()
	return nil
}

// pause waits for so long, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
