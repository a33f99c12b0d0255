// Package firewall makes the packet filter of the box: one table of nftables, of the
// policy in force, that keeps each class of device to what the policy lets it reach.
//
// [Rules] is pure and makes the text, for an admin to read and for nft -f to load. What
// the table refuses is first told by NFLOG and then counted in the table's own sets;
// names.go has what those who read them must know.
package firewall
