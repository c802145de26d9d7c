pub struct GtidSet; pub struct GtidError;
