/**
 * Masking rules on a row, as in the Worker (`src/policy/masking.rs`).
 */
import type { MaskingConfig, MaskRule, MaskType } from "../server/message.ts";
import { isWellFormed, masked, REDACTED } from "./mask.ts";

/** A JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A row as JSON. */
export type JsonRow = { [column: string]: Json };

/** The depth of nested arrays that a path reaches into. */
const MAX_ARRAYS = 16;

/** The row as seen by a viewer with these roles, who owns it or does not. */
export function maskRow(row: JsonRow, masking: MaskingConfig, roles: readonly string[], owns: boolean): JsonRow {
	let seen = row;
	for (const [path, rule] of Object.entries(masking) as [string, MaskRule][]) {
		if (!shows(rule, roles, owns)) seen = hide(seen, row, path, rule.type);
	}
	return seen;
}

function shows({ show = {} }: MaskRule, roles: readonly string[], owns: boolean): boolean {
	return (show.or === "owner" && owns) || (show.roles ?? []).some((role) => roles.includes(role));
}

/** A path names a column; if the row has none of that name, it leads into one. */
function hide(seen: JsonRow, original: JsonRow, path: string, type: MaskType): JsonRow {
	if (Object.hasOwn(original, path)) {
		return mapped(seen, (name, value) => (name === path ? (masked(type, value) as Json) : value));
	}
	return hideMember(seen, path.split("."), type, MAX_ARRAYS);
}

function hideMember(object: JsonRow, steps: readonly string[], type: MaskType, arrays: number): JsonRow {
	return mapped(object, (key, value) => {
		const further = beyond(steps, key);
		return further ? hideWithin(value, further, type, arrays) : value;
	});
}

/** The remaining steps below a key, which may itself contain dots; nothing if the path does not lead through it. */
function beyond(steps: readonly string[], key: string): readonly string[] | undefined {
	const parts = key.split(".");
	return parts.every((part, index) => part === steps[index]) ? steps.slice(parts.length) : undefined;
}

/** A scalar in place of an object may be that object as text, so it is redacted. */
function hideWithin(value: Json, steps: readonly string[], type: MaskType, arrays: number): Json {
	if (steps.length === 0) return masked(type, value) as Json;
	if (value === null) return null;
	if (Array.isArray(value)) return arrays > 0 ? value.map((one) => hideElement(one, steps, type, arrays - 1)) : REDACTED;
	// A key that is not valid text could be the masked one.
	if (typeof value !== "object" || !Object.keys(value).every(isWellFormed)) return REDACTED;
	return hideMember(value, steps, type, arrays);
}

function hideElement(value: Json, steps: readonly string[], type: MaskType, arrays: number): Json {
	if (typeof value === "object" && value !== null) return hideWithin(value, steps, type, arrays);
	return masked("redact", value) as Json;
}

function mapped(object: JsonRow, change: (key: string, value: Json) => Json): JsonRow {
	return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(key, value)]));
}
