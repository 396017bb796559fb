'use strict';

// What happens, for the tests to read: one JSON object a line.
module.exports = function tell(event, more) {
    console.log(JSON.stringify({ event, ...more }));
};
