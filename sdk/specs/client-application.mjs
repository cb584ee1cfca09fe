/**
 * An application around the examples of the documentation: a page, an API, functions of its own, and a record of
 * everything that happens to them.
 */
import { Window } from "happy-dom";
import { ORGANIZATION, token } from "./client-rig.mjs";

/** The address that the examples name. */
const ADDRESS = "https://realtime.example.com";
const ACTS = [
	"add", "addRecord", "log", "move", "put", "refreshMaterial", "reload", "remove", "removeRecord", "render", "show",
	"showTaskNotification", "signIn", "start", "toast", "updateRecord",
];
/** What an example may show, by name, and how it appears. */
export const HAPPENINGS = Object.fromEntries([
	...ACTS.map((act) => [act, new RegExp(`(?<![.\\w])${act}\\(`)]),
	["log to the console", /console\.log\(/],
	["warn", /console\.warn\(/],
	["banner", /banner\.hidden = /],
	["badge", /badge\.textContent = /],
	["reload the page", /location\.reload\(/],
	["keep", /sessionStorage\.setItem\(/],
	["connect", /\.connect\(\)/],
	["close", /\.close\(\)/],
	["track", /\.track\(|usePresence\(/],
	["untrack", /\.untrack\(/],
	["send", /\.send\(/],
	["render a component", /return </],
]);

/** Provides the application to the examples. */
export async function application(server) {
	const window = new Window();
	const happened = new Set();
	const note = (name) => () => void happened.add(name);
	const noted = (name) => ({ set: note(name), get: () => true });
	const sockets = [];
	class Routed extends WebSocket {
		constructor(url) {
			super(url.replace(ADDRESS.replace("http", "ws"), server.url.replace("http", "ws")));
			sockets.push(this);
		}
	}
	Object.assign(globalThis, {
		window,
		document: window.document,
		addEventListener: window.addEventListener.bind(window),
		location: { reload: note("reload the page") },
		fetch: api(globalThis.fetch),
		WebSocket: Routed,
		url: ADDRESS,
		activeOrgId: ORGANIZATION,
		options: { organizationId: ORGANIZATION, getToken: () => token(), backoff: { base: 5, max: 50 } },
		Avatar: ({ name }) => name,
		banner: Object.defineProperty({}, "hidden", noted("banner")),
		badge: Object.defineProperty({}, "textContent", noted("badge")),
		...Object.fromEntries(ACTS.map((act) => [act, note(act)])),
	});
	Object.defineProperty(globalThis, "sessionStorage", { value: { getItem: () => null, setItem: (_, text) => JSON.parse(text) && happened.add("keep") } });
	// React looks for a DOM when it is loaded.
	const { createRoot } = await import("react-dom/client");
	const { createElement } = await import("react");
	return { enter, turn: (event) => window.dispatchEvent(new window.Event(event)), refuse, leave: () => (refuse(), window.close()) };

	/** A page for one example; events are recorded from now on. */
	function enter(t, other, createClient) {
		happened.clear();
		t.mock.method(console, "log", note("log to the console"));
		t.mock.method(console, "warn", note("warn"));
		t.mock.method(console, "error", () => {});
		globalThis.client = createClient(ADDRESS, globalThis.options);
		t.after(() => globalThis.client.close());
		for (const { presence } of [other, other.topic("room:1")]) presence.on((members) => watch(members));
		other.topic("room:1").on("cursor", ({ payload }) => payload.x === 1 && happened.add("send"));
		const root = window.document.createElement("div");
		return {
			/** Renders the example's component, if it has one. */
			show({ Component, client = globalThis.client }) {
				client.on.status(({ state }) => happened.add({ connected: "connect", closed: "close" }[state]));
				if (!Component) return;
				const rendered = createRoot(root);
				t.after(() => rendered.unmount());
				rendered.render(createElement(Component, { projectId: "1", room: "room:1", name: "Ada" }));
			},
			has: (happening) => happened.has(happening) || (happening === "render a component" && hasRendered(root)),
		};
	}

	function watch(members) {
		const isThere = members.some(({ metadata }) => metadata.name === "Ada");
		if (isThere) happened.add("track");
		else if (happened.has("track")) happened.add("untrack");
	}

	/** How the Worker treats someone who may not be present. */
	function refuse() {
		for (const socket of sockets) socket.onclose?.({ code: 1008, reason: "auth_required" });
	}
}

/** The rows that were read and received, the members, the state, or the event. */
function hasRendered({ textContent }) {
	return /First.*Third|Ada|connected|m1|entered/.test(textContent);
}

/** The application's API; everything else is fetched as usual. */
function api(fetch) {
	const rows = [{ id: "c0", title: "First", status: "open", project_id: "1" }];
	return async (url, init) => {
		if (!String(url).startsWith("/api/")) return fetch(url, init);
		return url.includes("token") ? new Response(token()) : Response.json(rows);
	};
}
