package firewall

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// CheckText reports a text of rules that does anything but replace the box's own table, with
// the backstop beside it.
// The keeper has a right that the box has not, CAP_NET_ADMIN, and the box speaks with
// strangers: whoever gets hold of it can't reach the host's other tables, or its files, by
// way of the keeper. What the table itself says is the box's to say.
func CheckText(text []byte) error {
	if len(text) > MaxText {
		return fmt.Errorf("the rules are longer than %d bytes", MaxText)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("there are no rules")
	}
	if _, err := backstopOf(text); err != nil {
		return err
	}
	var (
		statement strings.Builder // at the top level, without what is within braces
		depth     int
		word      strings.Builder // anywhere
	)
	end := func() error {
		s := strings.Join(strings.Fields(statement.String()), " ")
		statement.Reset()
		switch s {
		case "", "table inet " + Table + " {}", "delete table inet " + Table:
			return nil
		}
		return fmt.Errorf("the rules do more than to replace table inet %s: %.80q", Table, s)
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if letter(c) || word.Len() > 0 && (c >= '0' && c <= '9' || c == '/' || c == '-') { // as nft has it
			word.WriteByte(c)
		} else {
			if word.String() == "include" {
				return errors.New("the rules include a file")
			}
			word.Reset()
		}
		switch c {
		case '#', '"':
			until := byte('"')
			if c == '#' {
				until = '\n'
			}
			n := bytes.IndexByte(text[i+1:], until)
			if n < 0 {
				return errors.New("the rules end within a comment or a string")
			}
			i += n
			if c == '"' {
				i++
				if depth == 0 {
					statement.WriteByte(c)
				}
			}
			continue
		case '\\', '$', 0:
			return fmt.Errorf("the rules have %q in them", c)
		case '{':
			depth++
			if depth == 1 {
				statement.WriteString(" {")
			}
			continue
		case '}':
			depth--
			if depth < 0 {
				return errors.New("the rules close a brace that is not open")
			}
			if depth == 0 {
				statement.WriteByte('}')
			}
			continue
		}
		if depth > 0 {
			continue
		}
		if c != '\n' && c != ';' {
			statement.WriteByte(c)
			continue
		}
		if err := end(); err != nil {
			return err
		}
	}
	if depth != 0 {
		return errors.New("the rules end within braces")
	}
	return end()
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '.'
}
