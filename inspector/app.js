/**
 * The Inspector: two connections, what each of them receives, and what the server says about it.
 */
import { CompareView } from "./compare-view.js";
import { byId } from "./dom.js";
import { Figures } from "./figures.js";
import { FramesView } from "./frames-view.js";
import { Journal } from "./journal.js";
import { Link } from "./link.js";
import { Pairing } from "./pairing.js";
import { PublishView } from "./publish-view.js";
import { Service } from "./service.js";
import { SideView } from "./side-view.js";
import { makeParts, makeTabs } from "./tabs.js";
import { TimelineView } from "./timeline-view.js";
import { takeTokens } from "./token.js";
import { TrafficView } from "./traffic-view.js";

// First of all, so that the address bar forgets them.
const tokens = takeTokens();

const journal = new Journal();
const pairing = new Pairing();
const service = new Service();
const links = ["A", "B"].map((name) => new Link(name, journal));
const figures = new Figures(service, () => links.find(({ organizationId }) => organizationId)?.organizationId);

/** What a link cannot know by itself. */
function surroundingsOf(link) {
	const others = links.filter(({ organizationId }) => organizationId === link.organizationId);
	const known = [figures.latest?.organizationId === link.organizationId ? figures.latest?.offset : undefined, ...others.map(({ last }) => last?.offset)];
	const offsets = known.filter((offset) => offset !== undefined);
	const latest = offsets.length > 0 ? Math.max(...offsets) : undefined;
	return { origin: location.origin, now: Date.now(), latest, publication: service.publication };
}

const sides = links.map((link) => new SideView(link, () => surroundingsOf(link)));
const comparison = new CompareView(pairing, links);
const publishing = new PublishView(service, links);
new FramesView(journal, links);
new TimelineView(links);
new TrafficView(figures);
makeTabs(byId("watch-tabs"));
makeParts(byId("parts"));

const drawSides = () => sides.forEach((side) => side.draw());
for (const link of links) {
	link.addEventListener("changed", () => publishing.draw());
	link.addEventListener("event", ({ detail: event }) => {
		service.arrived(link.name, event);
		comparison.changed(pairing.add(link.name, link.organizationId, event));
		drawSides();
	});
}
service.addEventListener("published", drawSides);
figures.addEventListener("changed", drawSides);

/** Offers tokens, and connects the first two. */
function begin({ service: serviceToken, secret, offered }) {
	if (serviceToken) service.token = serviceToken;
	if (secret) for (const side of sides) side.offerAnyone(secret);
	if (offered.length === 0) return;
	for (const side of sides) side.offer(offered);
	offered.slice(0, sides.length).forEach((token, index) => sides[index].connect(token));
}

begin(tokens);
// Pasting another address of the same page into this tab does not reload it.
addEventListener("hashchange", () => begin(takeTokens()));

byId("server").textContent = location.host;
fetch("/health", { cache: "no-store" })
	.then((response) => response.json())
	.then(({ version }) => (byId("version").textContent = `version ${version}`))
	.catch(() => (byId("version").textContent = "does not answer"));
