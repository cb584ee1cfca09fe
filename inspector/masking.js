/**
 * What masked values look like. The server does not say which values it has masked, so this is a guess. If two roles
 * see the same event, the comparison makes it a good one.
 */

/** A pattern for each mask's result. */
const LOOKS = [
	/^\[REDACTED\]$/,
	/^\*{4} \*{4} \*{4} \d{4}$/,
	/^\*+\d{4}$/,
	/^[^*]\*{3}@[^*]?\**(\.[^.*]+)?$/u,
	/^[^*\s]\*{3}$/u,
];

/** Whether a value looks like the result of a mask. */
export function looksMasked(value) {
	return typeof value === "string" && LOOKS.some((look) => look.test(value));
}

/** The paths of the values in a row or payload that look masked, such as `address.phone`. */
export function maskedPaths(value, path = "") {
	if (looksMasked(value)) return [path];
	if (value === null || typeof value !== "object") return [];
	const below = ([name, inner]) => maskedPaths(inner, path === "" ? name : `${path}.${name}`);
	return Object.entries(value).flatMap(below);
}
