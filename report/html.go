package report

import (
	"fmt"
	"html"
	"io"
	"strings"

	"tillgate/decision"
)

// style prints: a table breaks over pages between its rows, and repeats its head.
const style = `body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .3rem;break-after:avoid}
.pci{font-size:.8rem;color:#555;font-weight:400}.bad{color:#a40000}p{margin:.3rem 0;max-width:60rem}
nav ol{columns:2;max-width:48rem}.wide{overflow-x:auto}
table{border-collapse:collapse;margin:.5rem 0;font-size:.85rem}
th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #ddd}
td{overflow-wrap:break-word;max-width:22rem}td.long{min-width:14rem}
th{border-bottom:2px solid #888}tr{break-inside:avoid}thead{display:table-header-group}
@media print{body{margin:0;font-size:10px;max-width:none}nav{display:none}.wide{overflow:visible}@page{size:landscape;margin:12mm}}`

// HTML writes the report as one page that needs nothing else. Whatever came over the wire
// is escaped, here and in one place.
func (r *Report) HTML(w io.Writer) error {
	p := page{w: w}
	p.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n")
	p.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n")
	p.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>" + style + "</style>\n")
	p.element("title", "", "tillgate: report of "+moment(r.Made))
	p.raw("</head><body>\n")
	p.element("h1", "", "Network security control: report")
	p.element("p", "", r.heading())
	parts := r.Parts()
	p.raw("<nav><ol>")
	for _, part := range parts {
		p.raw("<li><a href=\"#" + part.ID + "\">")
		p.text(part.Title)
		p.raw("</a></li>")
	}
	p.raw("</ol></nav>\n")
	for i := range parts {
		p.part(&parts[i])
	}
	p.raw("</body></html>\n")
	return p.err
}

// heading is what the report is of.
func (r *Report) heading() string {
	by := "made of the files, as no box runs"
	if r.Running != "" {
		by = "made by " + r.Running
	}
	return fmt.Sprintf("From %s to %s, %s. Times are UTC. Numbers beside the titles are requirements of PCI DSS v4.0.1 for which a part gives evidence.", moment(r.Since), moment(r.Made), by)
}

// page writes HTML. After the first error it writes nothing.
type page struct {
	w   io.Writer
	err error
}

func (p *page) raw(text string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, text)
	}
}

func (p *page) text(text string) { p.raw(html.EscapeString(decision.Printable(text))) }

func (p *page) element(name, class, text string) {
	p.raw("<" + name)
	if class != "" {
		p.raw(" class=\"" + class + "\"")
	}
	p.raw(">")
	p.text(text)
	p.raw("</" + name + ">\n")
}

// cell writes a cell of a table. Long texts get room beside cells that don't break, and paths
// may break.
func (p *page) cell(text string) {
	const long = 40 // bytes
	if len(text) > long && strings.Contains(text, " ") {
		p.raw("<td class=\"long\">")
	} else {
		p.raw("<td>")
	}
	for part := range strings.SplitAfterSeq(text, "/") {
		p.text(part)
		if strings.HasSuffix(part, "/") {
			p.raw("<wbr>")
		}
	}
	p.raw("</td>")
}

func (p *page) part(part *Part) {
	class := ""
	if part.Bad {
		class = " class=\"bad\""
	}
	p.raw("<section id=\"" + part.ID + "\"><h2" + class + ">")
	p.text(part.Title)
	p.raw(" <span class=\"pci\">PCI DSS ")
	p.text(part.PCI)
	p.raw("</span></h2>\n")
	for _, t := range part.Text {
		p.element("p", "", t)
	}
	if len(part.Rows) == 0 {
		p.element("p", "", part.Empty)
	} else {
		p.raw("<div class=\"wide\"><table><thead><tr>")
		for _, c := range part.Columns {
			p.raw("<th scope=\"col\">")
			p.text(c)
			p.raw("</th>")
		}
		p.raw("</tr></thead><tbody>\n")
		for _, row := range part.Rows {
			p.raw("<tr>")
			for _, cell := range row {
				p.cell(cell)
			}
			p.raw("</tr>\n")
		}
		p.raw("</tbody></table></div>\n")
	}
	p.raw("</section>\n")
}

// CSV returns the part's table, with a line of names (RFC 4180).
func (p *Part) CSV() []byte {
	var b []byte
	for _, row := range append([][]string{p.Columns}, p.Rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = decision.CSVCell(cell)
		}
		b = append(b, strings.Join(cells, ",")+"\r\n"...)
	}
	return b
}
