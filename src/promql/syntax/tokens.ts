/**
 * The vocabulary: Chevrotain's token types. scanner.ts makes the tokens, grammar.ts consumes them.
 *
 * Two categories say where a keyword may stand for a name: `MetricWord` before a selector, `LabelWord` in a list of labels.
 */
import { createToken, type IToken, type TokenType } from 'chevrotain';

export const MetricWord = createToken({ name: 'MetricWord' });
export const LabelWord = createToken({ name: 'LabelWord' });
export const BinaryOperator = createToken({ name: 'BinaryOperator' });
export const MatchOperator = createToken({ name: 'MatchOperator' });
/** Words that are functions when a parenthesis follows. */
export const FunctionWord = createToken({ name: 'FunctionWord' });

export const Identifier = createToken({ name: 'Identifier', categories: [MetricWord, LabelWord, FunctionWord] });
export const MetricIdentifier = createToken({ name: 'MetricIdentifier', categories: [MetricWord] });
export const StringToken = createToken({ name: 'String' });
export const NumberToken = createToken({ name: 'Number' });
export const DurationToken = createToken({ name: 'Duration' });

export const LeftParen = createToken({ name: 'LeftParen' });
export const RightParen = createToken({ name: 'RightParen' });
export const LeftBrace = createToken({ name: 'LeftBrace' });
export const RightBrace = createToken({ name: 'RightBrace' });
export const LeftBracket = createToken({ name: 'LeftBracket' });
export const RightBracket = createToken({ name: 'RightBracket' });
export const Comma = createToken({ name: 'Comma' });
export const Colon = createToken({ name: 'Colon' });

export const Equal = createToken({ name: 'Equal', categories: [MatchOperator] });
export const EqualRegex = createToken({ name: 'EqualRegex', categories: [MatchOperator] });
export const NotEqualRegex = createToken({ name: 'NotEqualRegex', categories: [MatchOperator] });
/** `!=` both compares values and matches labels. */
export const NotEqual = createToken({ name: 'NotEqual', categories: [MatchOperator, BinaryOperator] });

export const Plus = createToken({ name: 'Plus', categories: [BinaryOperator] });
export const Minus = createToken({ name: 'Minus', categories: [BinaryOperator] });
export const Times = createToken({ name: 'Times', categories: [BinaryOperator] });
export const Divide = createToken({ name: 'Divide', categories: [BinaryOperator] });
export const Modulo = createToken({ name: 'Modulo', categories: [BinaryOperator] });
export const Power = createToken({ name: 'Power', categories: [BinaryOperator] });
/** `== < <= > >= </ >/`: operators that stand only between vectors or scalars. */
export const Compare = createToken({ name: 'Compare', categories: [BinaryOperator] });
export const AtSign = createToken({ name: 'AtSign' });

export const SetOperator = createToken({ name: 'SetOperator', categories: [BinaryOperator, MetricWord, LabelWord] });
/** No metric may be called atan2. */
export const Atan2 = createToken({ name: 'Atan2', categories: [BinaryOperator, LabelWord] });
export const Aggregator = createToken({ name: 'Aggregator', categories: [MetricWord, LabelWord] });
export const Offset = createToken({ name: 'Offset', categories: [MetricWord, LabelWord] });
export const EdgesWord = createToken({ name: 'EdgesWord', categories: [MetricWord, LabelWord] });
export const By = createToken({ name: 'By', categories: [MetricWord, LabelWord] });
/** `without` is no label name. */
export const Without = createToken({ name: 'Without', categories: [MetricWord] });
export const On = createToken({ name: 'On', categories: [LabelWord] });
export const Ignoring = createToken({ name: 'Ignoring', categories: [LabelWord] });
export const GroupSide = createToken({ name: 'GroupSide', categories: [LabelWord] });
export const Bool = createToken({ name: 'Bool', categories: [LabelWord] });
export const Fill = createToken({ name: 'Fill', categories: [MetricWord, LabelWord] });
export const FillLeft = createToken({ name: 'FillLeft', categories: [MetricWord, LabelWord] });
export const FillRight = createToken({ name: 'FillRight', categories: [MetricWord, LabelWord] });
/** `start` and `end`. */
export const QueryEnd = createToken({ name: 'QueryEnd', categories: [MetricWord, LabelWord, FunctionWord] });
/** `step` and `range`. */
export const StepOrRange = createToken({ name: 'StepOrRange', categories: [MetricWord, LabelWord, FunctionWord] });
/** `min_of` and `max_of`. */
export const MinMaxOf = createToken({ name: 'MinMaxOf', categories: [MetricWord, LabelWord, FunctionWord] });

export const AGGREGATORS =
  'sum avg count min max group stddev stdvar topk bottomk count_values quantile limitk limit_ratio'.split(' ');

/** Keywords in lower case; they are recognised in any case. `inf` and `nan` are numbers. */
export const KEYWORDS: ReadonlyMap<string, TokenType> = new Map<string, TokenType>([
  ...AGGREGATORS.map((word): [string, TokenType] => [word, Aggregator]),
  ['and', SetOperator],
  ['or', SetOperator],
  ['unless', SetOperator],
  ['atan2', Atan2],
  ['offset', Offset],
  ['smoothed', EdgesWord],
  ['anchored', EdgesWord],
  ['by', By],
  ['without', Without],
  ['on', On],
  ['ignoring', Ignoring],
  ['group_left', GroupSide],
  ['group_right', GroupSide],
  ['bool', Bool],
  ['fill', Fill],
  ['fill_left', FillLeft],
  ['fill_right', FillRight],
  ['start', QueryEnd],
  ['end', QueryEnd],
  ['step', StepOrRange],
  ['range', StepOrRange],
  ['min_of', MinMaxOf],
  ['max_of', MinMaxOf],
  ['inf', NumberToken],
  ['nan', NumberToken],
]);

export const VOCABULARY: TokenType[] = [
  ...[MetricWord, LabelWord, BinaryOperator, MatchOperator, FunctionWord],
  ...[Identifier, MetricIdentifier, StringToken, NumberToken, DurationToken],
  ...[LeftParen, RightParen, LeftBrace, RightBrace, LeftBracket, RightBracket, Comma, Colon],
  ...[Equal, EqualRegex, NotEqualRegex, NotEqual, Plus, Minus, Times, Divide, Modulo, Power, Compare, AtSign],
  ...[SetOperator, Atan2, Aggregator, Offset, EdgesWord, By, Without, On, Ignoring, GroupSide, Bool],
  ...[Fill, FillLeft, FillRight, QueryEnd, StepOrRange, MinMaxOf],
];

/** A token as the scanner makes it: offsets count bytes, `endOffset` is exclusive. */
export interface Token extends IToken {
  endOffset: number;
}
