/**
 * The page for development: one socket per token of the fragment, and what each of them sees, side by side.
 * Whatever comes from the network becomes text, never markup.
 */
const MOST_CARDS = 100;
const sides = [];
const cards = new Map();
const byId = (id) => document.getElementById(id);

/** An element with classes, and children that are elements or texts. */
function element(name, classes, ...children) {
	const created = document.createElement(name);
	created.className = classes;
	created.append(...children.map((child) => (child instanceof Node ? child : String(child))));
	return created;
}

/** The organization that a token is for, as the server reads it. The signature is the server's business. */
function organizationOf(token) {
	try {
		const base64 = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
		const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))));
		const { organizationId, activeOrganizationId, org_id, ref, organizations } = claims;
		return [organizationId, activeOrganizationId, org_id, ref, ...Object.keys(organizations ?? {})].find(Boolean);
	} catch {
		return undefined;
	}
}

/** One token with its socket. After a drop it asks for what it missed. */
class Side {
	constructor(name, token) {
		Object.assign(this, { name, token, organization: organizationOf(token), position: true, attempts: 0 });
		this.state = element("p", "state");
		this.who = element("dl", "who");
		byId("sides").append(element("article", "side", element("h2", "", name), this.state, this.who));
		if (this.organization) this.connect();
		else this.say("failed", "The token names no organization.");
	}

	say(kind, text) {
		this.state.dataset.kind = kind;
		this.state.textContent = text;
	}

	connect() {
		this.say("waiting", "connecting");
		const url = new URL(`realtime/v1/websocket?organizationId=${encodeURIComponent(this.organization)}`, location.href);
		url.protocol = url.protocol.replace("http", "ws");
		const socket = new WebSocket(url);
		socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token: this.token, recover: this.position }));
		socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
		socket.onclose = ({ code, reason }) => this.closed(code, reason);
	}

	receive(frame) {
		// After a replay is announced, only what has come counts.
		if (frame.offset !== undefined && !frame.recovered) {
			this.position = { epoch: frame.epoch ?? this.position.epoch, offset: frame.offset };
		}
		if (frame.type === "auth_success") this.welcome(frame);
		else if (frame.type === "postgres_changes" || frame.type === "broadcast") show(this, frame);
		else this.say("waiting", `${frame.type} ${frame.code ?? ""} ${frame.message ?? ""}`);
	}

	welcome({ organizationId, userId, roles, authMethod, recovered }) {
		this.attempts = 0;
		this.say("connected", recovered === false ? "connected; what was missed is too old to be replayed" : "connected");
		const facts = { organization: organizationId, user: userId ?? "none", roles: roles.join(", ") || "none", by: authMethod };
		this.who.replaceChildren(...Object.entries(facts).flatMap(([name, fact]) => [element("dt", "", name), element("dd", "", fact)]));
	}

	/** 1008 is a refusal, which would be repeated; anything else may pass. */
	closed(code, reason) {
		this.say("failed", `closed: ${code} ${reason}`);
		if (code === 1008) return;
		this.attempts += 1;
		setTimeout(() => this.connect(), Math.random() * Math.min(30_000, 500 * 2 ** this.attempts));
	}
}

/** Puts an event beside what the other sides got of it. What is not kept has no offset of its own, hence the count. */
function show(side, frame) {
	const name = frame.type === "broadcast" ? frame.event : `${frame.schema}.${frame.table}`;
	const title = frame.topic ? `${name} in ${frame.topic}` : name;
	const same = `${frame.offset} ${frame.type} ${title}`;
	let count = 0;
	while (cards.get(`${same} ${count}`)?.frames.has(side)) count += 1;
	const key = `${same} ${count}`;
	if (!cards.has(key)) {
		const time = new Date().toLocaleTimeString();
		const heading = element("h3", "", title, element("small", "", `offset ${frame.offset}, ${time}`));
		const body = element("div", "cells");
		const item = element("li", "card", heading, body);
		cards.set(key, { frames: new Map(), body, item });
		byId("feed").prepend(item);
		byId("empty").hidden = true;
		if (cards.size > MOST_CARDS) forget(cards.keys().next().value);
	}
	const card = cards.get(key);
	card.frames.set(side, frame);
	draw(card);
}

function draw({ frames, body }) {
	const rows = sides.map((side) => values(frames.get(side)));
	const names = [...new Set(rows.flatMap((row) => [...row.keys()]))];
	const received = rows.filter((_, index) => frames.has(sides[index]));
	const differs = (name) => new Set(received.map((row) => row.get(name))).size > 1;
	const operations = new Set([...frames.values()].map(({ eventType }) => eventType));
	body.replaceChildren(
		...sides.map((side, index) => {
			const operation = frames.get(side)?.eventType ?? "";
			const heading = element("h4", "", `${side.name} `, element(operations.size > 1 ? "mark" : "span", "", operation));
			const entries = names.map((name) => [name, rows[index].get(name), differs(name)]);
			const seen = frames.has(side) ? list(entries) : element("p", "nothing", "not received");
			return element("div", "cell", heading, seen);
		}),
	);
}

/** What a frame says, by name, each value as JSON: an update's column as `before → after` where both are known. */
function values(frame) {
	const found = new Map();
	if (!frame) return found;
	if (frame.type === "postgres_changes") {
		const { new: after, old: before } = frame;
		for (const name of Object.keys({ ...before, ...after })) {
			const texts = [before, after].filter((row) => row && name in row).map((row) => JSON.stringify(row[name]));
			found.set(name, [...new Set(texts)].join(" → "));
		}
	} else {
		const isObject = frame.payload !== null && typeof frame.payload === "object" && !Array.isArray(frame.payload);
		const entries = isObject ? Object.entries(frame.payload) : [["payload", frame.payload]];
		for (const [name, value] of entries) found.set(name, JSON.stringify(value));
	}
	return found;
}

function list(entries) {
	const line = ([name, text, differs]) => {
		const value = text ?? "not sent";
		return [element("dt", "", name), element("dd", text === undefined ? "nothing" : "", differs ? element("mark", "", value) : value)];
	};
	return element("dl", "row", ...entries.flatMap(line));
}

function forget(key) {
	cards.get(key)?.item.remove();
	cards.delete(key);
}

function start(tokens) {
	byId("tokens").hidden = tokens.length > 0;
	byId("hint").hidden = tokens.length === 0;
	sides.push(...tokens.map(([name, token]) => new Side(name, token)));
	const change = {
		organizationId: sides[0]?.organization,
		type: "postgres_changes",
		table: "employees",
		eventType: "INSERT",
		new: { id: "e1", ssn: "123-45-6789" },
		maskingConfig: { ssn: { type: "ssn", show: { roles: ["admin"] } } },
	};
	const lines = [
		`curl ${new URL("broadcast", location.href)} \\`,
		`  -H "Authorization: Bearer $ACCESS_TOKEN" \\`,
		`  -H 'Content-Type: application/json' \\`,
		`  -d '${JSON.stringify(change, null, 2).replaceAll("'", "'\\''")}'`,
	];
	byId("hint").querySelector("pre").textContent = lines.join("\n");
}

byId("clear").onclick = () => {
	for (const key of [...cards.keys()]) forget(key);
	byId("empty").hidden = false;
};
byId("tokens").onsubmit = (event) => {
	event.preventDefault();
	const tokens = [...new FormData(event.target)].filter(([, token]) => token);
	event.target.reset();
	start(tokens);
};

// The tokens of the fragment never leave this tab; the address bar and the history forget them before anything else.
const fragment = new URLSearchParams(location.hash.slice(1));
history.replaceState(null, "", location.pathname);
start([...fragment]);
