/**
 * A line over time, with its figures as text.
 */
import { element, shape, timeOf } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 80];
/** The time span of the width, in seconds. */
const SPANS = [30, 60, 120, 300, 900, 3_600];

/**
 * Draws into a `<figure>`.
 *
 * @param {HTMLElement} figure
 * @param {{title: string, short: string}} names
 * @param {{time: number, value: number | undefined}[]} points oldest first
 * @param {number} now
 */
export function drawChart(figure, { title, short }, points, now) {
	const age = (now - (points[0]?.time ?? now)) / 1_000;
	const span = SPANS.find((seconds) => seconds >= age) ?? SPANS.at(-1);
	const values = points.map(({ value }) => value).filter((value) => value !== undefined);
	const top = niceTop(Math.max(0, ...values));
	const place = ({ time, value }) => [WIDTH * (1 - (now - time) / (span * 1_000)), HEIGHT - (HEIGHT - 4) * (value / top) - 2];
	const cornerOf = (point) => place(point).map((coordinate) => coordinate.toFixed(1)).join(",");
	const lines = runs(points).map((run) => shape("polyline", { points: run.map(cornerOf).join(" ") }));
	const said = values.length > 0 ? `now ${rounded(values.at(-1))}, most ${rounded(Math.max(...values))}` : "no figures yet";
	const grid = [0, 0.5, 1].map((part) => {
		const y = HEIGHT - (HEIGHT - 4) * part - 2;
		return shape("line", { x1: 0, x2: WIDTH, y1: y, y2: y });
	});
	const label = `${title}, the last ${span} seconds: ${said}`;
	const box = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label };
	const caption = element("span", { class: "quiet" }, ` ${said}`);
	const drawing = shape("svg", box, ...grid, ...lines);
	const answer = (pointed) => (caption.textContent = pointed ? ` ${rounded(pointed.value)} at ${timeOf(pointed.time).slice(0, 8)}` : ` ${said}`);
	drawing.addEventListener("pointermove", (event) => answer(nearest(points, now - (1 - event.offsetX / drawing.clientWidth) * span * 1_000)));
	drawing.addEventListener("pointerleave", () => answer(undefined));
	figure.replaceChildren(
		element("figcaption", {}, element("strong", {}, short), caption),
		element(
			"div",
			{ class: "plot" },
			drawing,
			element("span", { class: "top", "aria-hidden": "true" }, rounded(top)),
			element("span", { class: "bottom", "aria-hidden": "true" }, "0"),
		),
		element("div", { class: "times quiet", "aria-hidden": "true" }, element("span", {}, span < 120 ? `${span} s ago` : `${span / 60} min ago`), element("span", {}, "now")),
	);
}

/** The point that is closest in time. */
function nearest(points, time) {
	const known = points.filter(({ value }) => value !== undefined);
	return known.reduce((best, point) => (best && Math.abs(best.time - time) <= Math.abs(point.time - time) ? best : point), undefined);
}

/** Consecutive points without a gap. */
function runs(points) {
	const found = [[]];
	for (const point of points) {
		if (point.value === undefined) found.push([]);
		else found.at(-1).push(point);
	}
	return found.filter(({ length }) => length > 0).map((run) => (run.length === 1 ? [{ ...run[0], time: run[0].time - 1_000 }, ...run] : run));
}

/** The smallest 1, 2 or 5 times a power of ten that is not below the value. */
function niceTop(value) {
	if (value <= 1) return 1;
	const power = 10 ** Math.floor(Math.log10(value));
	return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value);
}

const rounded = (value) => (value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1));
