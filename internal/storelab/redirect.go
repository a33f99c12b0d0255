package storelab

import "context"

// redirect has what the terminals send to any web port go to the box's own port,
// whichever address they send it to. Nothing is forwarded: this is the box as a
// gateway's firewall, or as the one-armed router of its network.
const redirect = `table inet gateway {
	chain in {
		type nat hook prerouting priority dstnat;
		iifname "eth0.*" tcp dport { 80, 443 } redirect to :3129
	}
}`

// Redirect makes the box's kernel redirect the terminals' HTTP and HTTPS to its
// intercept port, 3129.
func (b *Box) Redirect(t TB) {
	t.Helper()
	if _, err := b.Run(context.Background(), "nft", redirect); err != nil {
		t.Fatalf("redirecting: %v", err)
	}
}
