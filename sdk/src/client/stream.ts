/**
 * Where this client stands in the organization's stream: what it has handled, and what it may have missed.
 */
import type { AuthSuccess, Position } from "./frame.ts";

/**
 * Events were missed that the server does not have any more, or too many to send again. Nothing of them comes: read
 * again what you show.
 *
 * @example
 * ```ts
 * client.on.gap(({ from, to }) => {
 *   console.warn(from.epoch === to.epoch ? `missed up to ${to.offset - from.offset} events` : "the stream began anew");
 *   reload();
 * });
 * ```
 */
export interface Gap {
	/** The last event that was handled. */
	readonly from: Position;
	/** Where the stream goes on. */
	readonly to: Position;
}

/** The position that a reconnect resumes from. */
export class Stream {
	position: Position | undefined;

	constructor(position: Position | undefined) {
		this.position = position;
	}

	/** A connection begins; tells whether there is a gap. What was missed without one follows, so the position stays. */
	begin({ epoch, offset, recovered }: AuthSuccess): Gap | undefined {
		if (recovered || epoch === undefined || offset === undefined) return undefined;
		const from = this.position;
		const to = { epoch, offset };
		this.position = to;
		return from && { from, to };
	}

	/**
	 * Whether an event was handled before. The server sends none twice; this holds even if it did. Events that are not
	 * stored have the offset of the last stored one, so an equal offset says nothing.
	 */
	isPast(offset: number): boolean {
		return offset < (this.position?.offset ?? 0);
	}

	/** The event at this offset has been handled. Not sooner: what a crash or a drop interrupts must come again. */
	handled(offset: number): void {
		if (this.position) this.position = { ...this.position, offset };
	}
}
