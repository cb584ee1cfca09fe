/**
 * The load of an organization's object: rates and connections, by dialect and role.
 */
import { drawChart } from "./chart.js";
import { ago, byId, element, facts, refill, timeOf } from "./dom.js";

/** How many points the table has, which shows the same as the charts. */
const MAX_ROWS = 15;
const CHARTS = [
	["publications", { title: "Publications per second", short: "Publications/s" }],
	["deliveries", { title: "Deliveries per second", short: "Deliveries/s" }],
	["connections", { title: "Connections", short: "Connections" }],
];

/** Shows figures. */
export class TrafficView {
	#figures;

	/** @param {import("./figures.js").Figures} figures */
	constructor(figures) {
		this.#figures = figures;
		figures.addEventListener("changed", () => this.#draw());
		this.#draw();
	}

	#draw() {
		const { points, latest, problem } = this.#figures;
		byId("traffic-problem").textContent = problem;
		byId("traffic").hidden = points.length === 0;
		const now = Date.now();
		for (const [name, names] of CHARTS) {
			drawChart(byId(`chart-${name}`), names, points.map((point) => ({ time: point.time, value: point[name] })), now);
		}
		if (latest) refill(byId("figures"), facts(entriesOf(latest)));
		const rate = (value) => (value === undefined ? "–" : value.toFixed(1));
		const rows = points.slice(-MAX_ROWS).reverse().map(({ time, publications, deliveries, connections }) => {
			return element("tr", {}, ...[timeOf(time).slice(0, 8), rate(publications), rate(deliveries), connections].map((cell) => element("td", {}, cell)));
		});
		byId("traffic-rows").replaceChildren(...rows);
	}
}

function entriesOf(latest) {
	const counts = (map) => Object.entries(map).map(([name, count]) => `${name} ${count}`).join(", ") || "none";
	return [
		["organization", latest.organizationId],
		["connections", latest.connections],
		["unauthenticated", latest.pending],
		["by role", counts(latest.byRole)],
		["by protocol", counts(latest.byDialect).replace(/\bquickback\b/, "native")],
		["topics", latest.topics],
		["present", latest.presence],
		["offset", latest.offset],
		["retained", latest.history],
		["publications", latest.publications],
		["deliveries", latest.deliveries],
		["counted since", ago(new Date(latest.since).getTime())],
	];
}
