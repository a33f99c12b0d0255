// The box's API, the same that the command line uses: see package console.

// An APIError is what the box answered in place of what it was asked for.
export class APIError extends Error {
	constructor(status, text) {
		super(text);
		this.status = status;
	}
}

// answerWithin is how long the box may take to begin an answer, in milliseconds.
const answerWithin = 15000;

function url(path, parameters = {}) {
	const query = new URLSearchParams();
	for (const [name, value] of Object.entries(parameters)) {
		if (value !== undefined && value !== "") query.append(name, value);
	}
	const text = query.toString();
	return "/v1/" + path + (text && "?" + text);
}

async function ask(address, options, signal) {
	const tooLong = new AbortController();
	const timer = setTimeout(() => tooLong.abort(), answerWithin);
	try {
		const response = await fetch(address, {...options, signal: AbortSignal.any([tooLong.signal, ...signal ? [signal] : []])});
		if (response.ok) return response;
		throw new APIError(response.status, await refusal(response));
	} catch (error) {
		if (error instanceof APIError || signal?.aborted) throw error;
		throw new APIError(0, "the box does not answer");
	} finally {
		clearTimeout(timer);
	}
}

async function refusal(response) {
	try {
		return (await response.json()).error;
	} catch {
		return "the box answered with status " + response.status;
	}
}

function sending(body) {
	return {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
}

// get asks for one answer.
export async function get(path, parameters, signal) {
	return (await ask(url(path, parameters), {}, signal)).json();
}

// poll asks for what a page asks again and again by itself. To the box that is no sign
// of somebody who looks.
export async function poll(path, signal) {
	return (await ask(url(path), {headers: {"Tillgate-Unattended": "1"}}, signal)).json();
}

// post sends one thing and returns the answer.
export async function post(path, body = {}) {
	const text = await (await ask(url(path), sending(body))).text();
	return text && JSON.parse(text);
}

// getLines yields the lines of a stream as they come, postLines those that answer what was
// sent. One that breaks off is an error.
export async function* getLines(path, parameters, signal) {
	yield* lines(await ask(url(path, parameters), {}, signal));
}

export async function* postLines(path, body, signal) {
	yield* lines(await ask(url(path), sending(body), signal));
}

async function* lines(response) {
	let rest = "";
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	for (;;) {
		const {value, done} = await reader.read();
		if (done) break;
		const parts = (rest + value).split("\n");
		rest = parts.pop();
		for (const line of parts) yield JSON.parse(line);
	}
	if (rest) throw new APIError(0, "the answer broke off");
}

// eventsURL is where the log is followed.
export function eventsURL(filters) {
	return url("events", filters);
}

// whyRefused asks for the words of a refusal, which an EventSource does not have. It
// returns null when there is none (any more).
export async function whyRefused(address, signal) {
	const stop = new AbortController();
	try {
		await ask(address, {}, AbortSignal.any([stop.signal, signal]));
		return null;
	} catch (error) {
		return error;
	} finally {
		stop.abort();
	}
}
