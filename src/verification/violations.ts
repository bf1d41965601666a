/** What a check can find wrong; `checker.ts` says what each invariant is. */

export type Invariant =
  | 'I1'
  | 'I2'
  | 'I3'
  | 'I4'
  | 'I5'
  | 'I6'
  | 'I7'
  | 'I8'
  | 'I9'
  | 'I10'
  | 'I11'
  | 'I12'
  | 'I13'
  | 'I14'
  | 'I15'
  | 'I16'

export interface Violation {
  readonly invariant: Invariant
  /** What is wrong, for people. */
  readonly says: string
  /** Where one key is concerned. */
  readonly principal?: string
  readonly key?: string
}
