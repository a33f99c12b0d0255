// The log as it happens. Each record comes once, whatever became of the connection: who
// comes back says which one he had last.
import {eventsURL, whyRefused} from "./api.js";
import {lookNow} from "./health.js";

// again is how long to wait after a refusal, in milliseconds.
const again = 10000;

// follow calls told.record with each record that the filters choose, told.gap and
// told.damage with what is missing, and told.state with how the connection is, in words: "live",
// "connecting", or why there is none. It ends with signal. While the page is in the background
// it lets go of the connection, as a browser has only six to one box and the box eight
// streams for all.
export function follow(filters, told, signal) {
	let source, timer, last = {};

	function open() {
		close();
		if (document.hidden || signal.aborted) return;
		told.state("connecting");
		const address = eventsURL({...filters, after: last.id});
		source = new EventSource(address);
		source.onopen = () => told.state("live");
		source.onmessage = (event) => {
			const record = JSON.parse(event.data);
			// A box that had no time to write may give a number again, in its next run.
			if (record.boot === last.boot && record.seq <= last.seq) return;
			last = {id: event.lastEventId, boot: record.boot, seq: record.seq};
			told.record(record);
		};
		source.addEventListener("gap", (event) => told.gap(JSON.parse(event.data)));
		source.addEventListener("damage", (event) => told.damage(JSON.parse(event.data).error));
		source.onerror = () => {
			lookNow(); // is it this connection, or the box?
			// It tries again by itself, unless the box refused.
			if (source.readyState === EventSource.CLOSED) refused(address);
			else told.state("connecting");
		};
	}

	async function refused(address) {
		close();
		const error = await whyRefused(address, signal);
		if (signal.aborted) return;
		told.state(error ? error.message : "connecting");
		if (error?.status === 400 || error?.status === 401) return; // it would be the same again
		timer = setTimeout(open, error ? again : 0);
	}

	function close() {
		clearTimeout(timer);
		source?.close();
	}

	document.addEventListener("visibilitychange", open, {signal});
	// A box that lost power has left a connection that looks alive.
	document.addEventListener("back", open, {signal});
	signal.addEventListener("abort", close);
	open();
}
