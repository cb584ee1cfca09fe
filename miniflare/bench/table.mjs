/**
 * The rows of the result: both sides, their ratio, and what was aimed at.
 */
import { styleText } from "node:util";

/**
 * Both sides were measured as often, taking turns. The ratio is the median of each turn's, so what slowed one turn down
 * slowed both.
 *
 * @param {number} [most] the ratio that is aimed at
 */
export function comparison(name, unit, workers, bares, most) {
	const ratio = median(workers.map((worker, turn) => worker / bares[turn]));
	return { name, unit, worker: rounded(median(workers)), bare: rounded(median(bares)), ratio: rounded(ratio), ...judged(ratio, most) };
}

/**
 * The Worker's side alone, or one where a ratio means nothing.
 *
 * @param {number} [most] the value that is aimed at
 */
export function figure(name, unit, worker, { bare, most } = {}) {
	return { name, unit, worker: rounded(worker), bare: rounded(bare), ...judged(worker, most) };
}

export function median(values) {
	return percentile(values, 50);
}

export function percentile(values, percent) {
	const sorted = values.toSorted((a, b) => a - b);
	return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))];
}

/** The table as text. */
export function format(rows) {
	const header = ["", "worker", "bare object", "ratio", "target", ""];
	const lines = rows.map(({ name, unit, worker, bare, ratio, most, met }) => [
		name,
		`${worker} ${unit}`,
		bare === undefined ? "" : `${bare} ${unit}`,
		ratio === undefined ? "" : `${ratio}`,
		most === undefined ? "" : `≤ ${most}`,
		met === undefined ? "" : met ? "met" : "missed",
	]);
	const widths = header.map((_, column) => Math.max(...[header, ...lines].map((line) => line[column].length)));
	const pad = (line) => line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])));
	const [top, ...rest] = [header, ...lines].map((line) => pad(line).join("  ").trimEnd());
	return [styleText("bold", top), ...rest].join("\n");
}

function judged(value, most) {
	return most === undefined ? {} : { most, met: value <= most };
}

/** To three significant digits. */
function rounded(value) {
	return value === undefined || !Number.isFinite(value) ? value : Number(value.toPrecision(value >= 1000 ? Math.ceil(Math.log10(value)) : 3));
}
