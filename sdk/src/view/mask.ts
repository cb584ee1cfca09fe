/**
 * The six masks, as in the Worker (`src/policy/mask.rs`). One table of tests checks both.
 */
import type { MaskType } from "../server/message.ts";

/** Replaces a value whose shape cannot be kept. */
export const REDACTED = "[REDACTED]";

/** A value without what `type` hides. `null` stays `null`; a value that does not fit, or an unknown type, is redacted. */
export function masked(type: MaskType, value: unknown): unknown {
	if (value === null) return null;
	// The Worker does not accept a lone surrogate as text.
	const text = typeof value === "number" ? decimal(`${value}`) : typeof value === "string" && isWellFormed(value) ? value : undefined;
	return (text !== undefined && Object.hasOwn(MASKS, type) ? MASKS[type](text) : undefined) ?? REDACTED;
}

/** Whether a text has no lone surrogate. */
export function isWellFormed(text: string): boolean {
	return !/\p{Surrogate}/u.test(text);
}

const MASKS: Readonly<Record<MaskType, (text: string) => string | undefined>> = {
	email,
	phone: (text) => digits(text, (all) => "*".repeat(all.length - 4) + all.slice(-4)),
	ssn: (text) => digits(text, (all) => "*".repeat(all.length - 4) + all.slice(-4)),
	creditCard: (text) => digits(text, (all) => `**** **** **** ${all.slice(-4)}`),
	name: ([first]) => first && `${first}***`,
	redact: () => undefined,
};

/** The last `@` separates. The last label, which is shown whole, must look like a top-level domain. */
function email(text: string): string | undefined {
	const at = text.lastIndexOf("@");
	const dot = text.lastIndexOf(".");
	if (at < 0 || dot < at) return undefined;
	const last = text.slice(dot + 1);
	const isDomain = /^\p{Alphabetic}[\p{Alphabetic}\p{N}-]*$/u.test(last) && new TextEncoder().encode(last).length <= 63;
	const [localFirst] = text.slice(0, at);
	const [hostFirst, ...rest] = text.slice(at + 1, dot);
	if (!isDomain || !localFirst || !hostFirst) return undefined;
	return `${localFirst}***@${hostFirst}${"*".repeat(rest.length)}.${last}`;
}

/** With fewer than five digits, showing four would show nearly all. */
function digits(text: string, show: (digits: string) => string): string | undefined {
	const all = text.replace(/[^0-9]/g, "");
	return all.length >= 5 ? show(all) : undefined;
}

/** A number without an exponent, which JavaScript writes for very large and very small numbers. */
function decimal(number: string): string {
	const [, sign, whole, fraction = "", exponent] = number.match(/^(-?)(\d+)(?:\.(\d+))?e([+-]\d+)$/) ?? [];
	if (whole === undefined) return number;
	const point = whole.length + Number(exponent);
	const all = "0".repeat(Math.max(0, 1 - point)) + whole + fraction + "0".repeat(Math.max(0, point - whole.length - fraction.length));
	const cut = Math.max(1, point);
	const tail = all.slice(cut).replace(/0+$/, "");
	return `${sign}${all.slice(0, cut).replace(/^0+(?=.)/, "")}${tail && `.${tail}`}`;
}
