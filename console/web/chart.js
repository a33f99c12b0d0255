// The charts of the traffic: what was decided and what went through, hour by hour.
import uPlot from "./vendor/uPlot.esm.js";
import {h, table} from "./dom.js";
import {number, size, sum} from "./format.js";

const height = 150;

// hour is the hour that begins at a time, in local time.
function hour(seconds) {
	const at = (s) => new Date(s * 1000).toLocaleTimeString(undefined, {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
	return at(seconds) + "–" + at(seconds + 3600);
}

// charts makes the charts within an element, and returns what draws them with new numbers.
// They are drawn anew when the colours or the width change.
export function charts(within, signal) {
	const colours = matchMedia("(prefers-color-scheme: dark)");
	let traffic, plots = [], shown = "";
	function draw() {
		for (const plot of plots) plot.destroy();
		plots = [];
		const {start, step_s, allowed, denied, up, down} = traffic;
		const first = Date.parse(start) / 1000;
		const hours = (allowed ?? []).map((_, i) => first + i * step_s);
		if (!hours.length) {
			within.replaceChildren(h("p", {}, "Nothing is recorded of it yet."));
			return;
		}
		const [decisions, bytes] = [
			figure("Attempts", hours, [["allowed", allowed, "--allow"], ["denied", denied, "--deny"]], number),
			figure("Bytes", hours, [["received", down, "--allow"], ["sent", up, "--second"]], size),
		];
		within.replaceChildren(h("div", {class: "charts"}, decisions.element, bytes.element),
			h("details", {}, h("summary", {}, "The same as a table"),
				table("The last 24 hours", ["Hour", "Allowed", "Denied", "Received", "Sent"],
					hours.map((t, i) => [hour(t), number(allowed[i]), number(denied[i]), size(down[i]), size(up[i])]))));
		plots = [decisions.plot(), bytes.plot()];
	}
	const resized = new ResizeObserver(() => {
		for (const plot of plots) {
			const width = plot.root.parentElement.clientWidth;
			if (width !== plot.width) plot.setSize({width, height});
		}
	});
	resized.observe(within);
	colours.addEventListener("change", () => traffic && draw(), {signal});
	signal.addEventListener("abort", () => {
		resized.disconnect();
		for (const plot of plots) plot.destroy();
	});
	return (now) => {
		traffic = now;
		const text = JSON.stringify(now);
		if (text !== shown) draw();
		shown = text;
	};
}

// figure is a chart with a line of text that tells its sums, or an hour's numbers when
// one points at it. Its plot can only be made when it is in the page and has a width.
function figure(name, hours, series, format) {
	const told = (pick) => series.map(([what, values]) => format(pick(values)) + " " + what).join(", ");
	const all = name + ": " + told((values) => sum(values));
	const caption = h("figcaption", {}, keys(series), h("span", {class: "told"}, all));
	const box = h("div", {role: "img", "aria-label": all + " in the last 24 hours"});
	const element = h("figure", {class: "card"}, caption, box);
	const colour = (variable) => getComputedStyle(element).getPropertyValue(variable).trim();
	// The last hour is as wide as the others: it ends where the next one will begin.
	const ends = [...hours, hours.at(-1) + 3600];
	const plot = () => {
		const axis = {stroke: colour("--muted"), grid: {stroke: colour("--line"), width: 1}, ticks: {show: false}, font: "12px system-ui, sans-serif"};
		return new uPlot({
			width: box.clientWidth, height,
			legend: {show: false},
			cursor: {y: false, drag: {x: false, y: false}},
			scales: {y: {range: (u, min, max) => [0, Math.max(max * 1.1, 1)]}},
			axes: [
				{...axis, values: (u, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString(undefined, {hour: "2-digit", minute: "2-digit", hourCycle: "h23"}))},
				{...axis, size: 62, values: (u, ticks) => ticks.map((t) => t === Math.round(t) ? format(t) : "")},
			],
			series: [{}, ...series.map(([what, , variable]) => ({
				label: what, stroke: colour(variable), fill: colour(variable) + "33", width: 2,
				paths: uPlot.paths.stepped({align: 1}), points: {show: false},
			}))],
			hooks: {setCursor: [(u) => {
				const i = Math.min(u.cursor.idx ?? NaN, hours.length - 1);
				caption.lastChild.textContent = isNaN(i) ? all : hour(hours[i]) + ": " + told((values) => values[i]);
			}]},
		}, [ends, ...series.map(([, values]) => [...values, values.at(-1)])], box);
	};
	return {element, plot};
}

// keys say which colour is what.
function keys(series) {
	return h("span", {class: "keys", "aria-hidden": "true"}, series.map(([what, , variable]) => h("span", {class: "key" + variable}, what)));
}
